"""English and Chinese: the same guides, parts and commands, and Chinese that is Chinese."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from codehearth.cli.reference import command_page, settings_page
from scripts.chinese import chinese
from scripts.reference_pages import errors_page
from tests.docs.pages import DOCS, GUIDES, fences


def _headings(page: Path) -> list[str]:
    prose = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    return re.findall(r"^(#+) .+$", prose, re.MULTILINE)


def test_every_guide_is_there_in_both_languages() -> None:
    assert sorted(path.name for path in (DOCS / "zh").glob("*.md")) == sorted([*GUIDES, "index.md"])


@pytest.mark.parametrize("name", GUIDES)
def test_both_languages_have_the_same_parts_and_commands(name: str) -> None:
    english, chinese = DOCS / "guide" / name, DOCS / "zh" / name

    assert _headings(english) == _headings(chinese)
    assert [fence.text for fence in fences(english)] == [fence.text for fence in fences(chinese)]
    assert [fence.is_run for fence in fences(english)] == [f.is_run for f in fences(chinese)]


@pytest.mark.parametrize("name", [*GUIDES, "index.md"])
def test_a_chinese_page_is_in_chinese(name: str) -> None:
    text = (DOCS / "zh" / name).read_text("utf-8")
    prose = re.sub(r"```.*?```|`[^`]*`|\([^)]*\)", "", text, flags=re.DOTALL)
    chinese = len(re.findall(r"[\u4e00-\u9fff]", prose))
    latin = len(re.findall(r"[A-Za-z]+", prose))

    assert chinese > 2 * latin
    assert not re.search(r"[\u4e00-\u9fff],|[\u4e00-\u9fff]\. ", prose), "half-width punctuation"


def test_the_chinese_reference_is_in_chinese() -> None:
    """A new text may wait for its translation; a page that is mostly English is none."""
    known, asked = chinese(), set[str]()

    def said(text: str) -> str:
        asked.add(text)
        return known.get(text, text)

    for page in (command_page, settings_page, errors_page):
        page(said)

    missing = sorted(text for text in asked - {""} if text not in known)
    assert len(missing) < len(asked) / 10, missing
    assert not re.search(r"[\u4e00-\u9fff],|[\u4e00-\u9fff]\. ", " ".join(known.values()))


@pytest.mark.parametrize("folder", ["guide", "zh"])
def test_every_guide_is_reached_from_the_first_page(folder: str) -> None:
    index = DOCS / "index.md" if folder == "guide" else DOCS / "zh" / "index.md"
    text = index.read_text("utf-8")

    for name in GUIDES:
        assert f"({'guide/' if folder == 'guide' else ''}{name})" in text
