"""The reference pages say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from codehearth.cli.group import SECTIONS
from codehearth.cli.reference import command_page, settings_page
from codehearth.errors import HearthError
from codehearth.settings import setting_fields
from scripts.write_reference import PAGES

DOCS = Path(__file__).parent.parent.parent / "docs"
HOW = "run `python scripts/write_reference.py`"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name: str) -> None:
    assert DOCS.joinpath(name).read_text("utf-8") == PAGES[name](), HOW


def test_every_command_and_setting_is_on_its_page() -> None:
    commands, settings = command_page(), settings_page()

    for verb in [verb for verbs in SECTIONS.values() for verb in verbs]:
        assert f"\n## hearth {verb}\n" in commands
    for setting in setting_fields():
        assert f"`HEARTH_{setting.name.upper()}`" in settings


def test_every_exit_code_of_an_error_is_explained() -> None:
    codes, todo = set(), [HearthError]
    while todo:
        known = todo.pop()
        codes.add(known.exit_code)
        todo += known.__subclasses__()

    page = command_page()
    assert all(f"\n| {code} | " in page for code in codes)
