"""Language tags."""

from __future__ import annotations

from codehearth.text.prompts import language_prompt


def test_the_tag_line_stands_above_the_prompt() -> None:
    assert language_prompt("# language: Python", "# sort\n") == "# language: Python\n# sort\n"
