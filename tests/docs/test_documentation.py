"""The documentation: its commands run, its links lead somewhere, both languages say the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from codehearth.cli.group import SECTIONS
from scripts.comparison import read as read_comparison
from scripts.write_figures import PAGES as FIGURES
from scripts.write_figures import written
from tests.cli.command_line import HEARTH, Hearth, served
from tests.docs.pages import DOCS, PAGES, ROOT, fences

# The address in the documentation; in a test it is the server's own.
ADDRESS = "http://127.0.0.1:8765"


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings as forges make them."""
    prose = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    plain = [re.sub(r"[`*]|\[|\]\([^)]*\)", "", title).lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in plain}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hearth]:
    """A home with `hearth` on its PATH and a running server."""
    hearth = Hearth(tmp_path_factory.mktemp("docs"))
    tools = hearth.home / "tools"
    tools.mkdir()
    (tools / "hearth").write_text(f'#!/bin/sh\nexec {" ".join(HEARTH)} "$@"\n')
    (tools / "hearth").chmod(0o755)
    hearth.variables["PATH"] = f"{tools}:{os.environ['PATH']}"
    with served(hearth) as url:
        hearth.url = url
        yield hearth


MARKED = [
    pytest.param(page, number, id=f"{page.relative_to(ROOT)}:{number}")
    for page in PAGES
    for number, fence in enumerate(fences(page))
    if fence.is_run
]


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")
@pytest.mark.parametrize(("page", "number"), MARKED)
def test_what_the_documentation_says_to_type_works(
    house: Hearth, page: Path, number: int, tmp_path: Path
) -> None:
    fence = fences(page)[number]
    if page.parent.name == "zh" and fence.text in {f.text for f in fences(_twin(page))}:
        pytest.skip("the same as in English, which is run")
    if "keys create" in fence.text:  # a key would lock out the other pages' commands
        house = Hearth(tmp_path / "home", dict(house.variables))
        house.home.mkdir()

    if fence.language == "python":
        text = fence.text.replace(ADDRESS, house.url)
        _run([sys.executable, "-c", text], house, tmp_path, fence.text)
        return
    assert fence.commands
    for command in fence.commands:
        argv = ["bash", "-o", "pipefail", "-c", command.replace(ADDRESS, house.url)]
        said = _run(argv, house, tmp_path, command)
        assert '"error"' not in said or "metrics" in command, said


def _run(argv: list[str], house: Hearth, folder: Path, shown: str) -> str:
    environment = {**house.environment, "HEARTH_DATA": str(house.data)}
    done = subprocess.run(
        argv, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{shown}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# The changelog is history: what it names may have moved since.
LINKED = [page for page in PAGES if page.name != "CHANGELOG.md"]


@pytest.mark.parametrize("page", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        # The site is made of `docs` alone: from there a link out of it leads nowhere.
        assert found.is_relative_to(DOCS if page.is_relative_to(DOCS) else ROOT), target
        if anchor and found.suffix == ".md":
            assert anchor in _anchors(found), target


def _twin(page: Path) -> Path:
    return DOCS / "guide" / page.name if page.name != "index.md" else DOCS / page.name


def test_every_route_says_what_it_is_for() -> None:
    sections = re.split(r"^## ", (DOCS / "routes.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
    silent = [section.split("\n")[0] for section in sections if not section.split("\n")[2].strip()]

    assert len(sections) > 60
    assert not silent


def test_commands_in_the_guides_exist() -> None:
    verbs = {verb for section in SECTIONS.values() for verb in section}
    for page in PAGES:
        for fence in fences(page):
            for command in fence.commands:
                for verb in re.findall(r"(?:^|[|&] |/)hearth ([a-z]+)", command):
                    assert verb in verbs, f"{page.name}: {command}"


READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")


def _shape(page: Path) -> list[str]:
    """What a README consists of, in order: headings by level, tables by size, fences, pictures."""
    shape, rows = [], 0
    for line in re.sub(r"```.*?```", "```", page.read_text("utf-8"), flags=re.DOTALL).splitlines():
        if line.startswith("|"):
            rows += 1
            continue
        if rows:
            shape.append(f"table of {rows}")
            rows = 0
        if line.startswith(("#", "```", "<picture", "- ")):
            shape.append(line.split(" ")[0])
    return shape


def test_both_readmes_have_the_same_parts() -> None:
    english, chinese = map(_shape, READMES)

    assert english == chinese


@pytest.mark.parametrize("page", READMES, ids=lambda path: path.name)
def test_a_readme_shows_the_page_in_light_and_dark(page: Path) -> None:
    text = page.read_text("utf-8")
    dark = re.search(r'<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">', text)
    light = re.search(r'<img alt="[^"]+" src="([^"]+)">', text)

    assert dark and light
    assert (ROOT / dark[1]).is_file() and (ROOT / light[1]).is_file()


@pytest.mark.parametrize("page", FIGURES)
def test_figures_are_those_of_the_results(page: str) -> None:
    assert (ROOT / page).read_text("utf-8") == written(page), (
        "run `python scripts/write_figures.py`"
    )


def test_every_cell_of_the_comparison_has_a_source_and_both_languages() -> None:
    table = read_comparison()
    known = {product["key"] for product in table.products}

    for row in table.rows:
        assert set(row) - {"title", "codehearth"} <= known
        for said, source in (row[key] for key in known & set(row)):
            assert source.startswith("https://"), (row["title"], said)
            assert table.words(said, "zh")


_OURS = r"(?<![\w/.-])(?:tests|scripts|src/codehearth|deploy|examples|benchmarks)/[\w./-]*[\w/]"


@pytest.mark.parametrize("page", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    for file in re.findall(_OURS, page.read_text("utf-8")):
        assert (ROOT / file).exists(), file


# What other programs say, as their makers wrote it.
_FOREIGN = ("libgomp.so.1: cannot open",)


def test_a_symptom_is_what_the_program_says() -> None:
    """Who meets a message looks for its words: an old wording is never found."""
    files = [*(ROOT / "src").rglob("*.py"), ROOT / "Makefile"]
    program = " ".join(file.read_text("utf-8") for file in files)
    program = re.sub(r'"\s*\n\s*f?"', "", program)  # a text over several lines
    page = (DOCS / "guide" / "troubleshooting.md").read_text("utf-8")
    symptoms = re.findall(r"^\| (.+?) \|", page, re.MULTILINE)
    quoted = [text for symptom in symptoms for text in re.findall(r"`([^`]+)`", symptom)]

    assert len(quoted) > 10
    for text in {*quoted} - {*_FOREIGN}:
        for part in filter(None, map(str.strip, text.split("…"))):
            assert part in program, text


def test_make_targets_in_the_documentation_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", ROOT.joinpath("Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(
            r"(?:`|\$ |^ +)make ([a-z][a-z-]*)", page.read_text("utf-8"), re.M
        ):
            assert target in targets, f"{page.name}: make {target}"
