"""Every text of the page is in both tables, and the page's files name nobody else's servers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from codehearth.text.languages import find_language
from codehearth.web.files import FOLDER

SCRIPTS = sorted(FOLDER.glob("*.js"))
TABLES = {path.stem: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("strings/*.json")}


def asked_keys() -> tuple[set[str], list[re.Pattern[str]]]:
    """Keys that scripts ask for: whole ones, and patterns for those made at run time."""
    whole: set[str] = set()
    made: list[re.Pattern[str]] = []
    for script in SCRIPTS:
        text = script.read_text("utf-8")
        for call, key in re.findall(r"""\b(t|t_count)\(\s*"([\w.]+)\"""", text):
            whole |= {f"{key}.one", f"{key}.many"} if call == "t_count" else {key}
        for first, second in re.findall(r"""\bt\([^"`()]*\? "([\w.]+)" : "([\w.]+)"\)""", text):
            whole |= {first, second}
        for template in re.findall(r"\bt\(`([^`]+)`", text):
            parts = re.split(r"\$\{[^}]*\}", template)
            made.append(re.compile(r"[\w.]+".join(map(re.escape, parts))))
        if script.name in ("errors.js", "shortcuts.js"):
            whole |= set(re.findall(r'"(keys\.\w+)"', text))
    return whole, made


def test_there_are_two_languages() -> None:
    assert set(TABLES) == {"en", "zh-CN"}


def test_both_tables_hold_the_same_keys() -> None:
    assert set(TABLES["en"]) == set(TABLES["zh-CN"])


def test_texts_have_the_same_values_to_fill_in() -> None:
    for key, text in TABLES["en"].items():
        assert set(re.findall(r"\{\w+\}", text)) == set(
            re.findall(r"\{\w+\}", TABLES["zh-CN"][key])
        ), key


def test_no_text_is_missing_or_left_over() -> None:
    whole, made = asked_keys()
    known = set(TABLES["en"])

    assert whole <= known, whole - known
    for pattern in made:
        assert any(pattern.fullmatch(key) for key in known), pattern.pattern
    unused = {key for key in known - whole if not any(p.fullmatch(key) for p in made)}
    assert not {key for key in unused if not key.startswith("error.")}, unused


def test_chinese_texts_are_chinese() -> None:
    same = {
        key
        for key, text in TABLES["zh-CN"].items()
        if text == TABLES["en"][key] and re.search(r"[a-z]{3}", text)
    }

    assert same <= {"plain.first", "measure.pass"}


def test_scripts_show_no_text_of_their_own() -> None:
    """A label that is not in a table would stay English in a Chinese page."""
    for script in SCRIPTS:
        text = script.read_text("utf-8")
        for label in re.findall(r'(?:"aria-label"|placeholder|title): "([^"]+)"', text):
            assert not re.search(r"[A-Za-z]{4}", label) or label in ("hf:org/repo",), (
                script.name,
                label,
            )


@pytest.mark.parametrize(
    "path", [p for p in FOLDER.rglob("*") if p.is_file()], ids=lambda p: p.name
)
def test_the_files_name_no_server(path: Path) -> None:
    addresses = re.findall(r"https?://[\w.-]+", path.read_text("utf-8"))

    assert set(addresses) <= {"http://www.w3.org"}


def test_the_languages_of_the_editor_are_those_of_the_server() -> None:
    text = (FOLDER / "languages.js").read_text("utf-8")
    names = re.findall(r'"([^"]+)"', text.split("TAG_LANGUAGES = [")[1].split("]")[0])

    assert len(names) > 50
    for name in names:
        assert find_language(name).name == name
