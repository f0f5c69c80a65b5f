"""Languages are found by name, alias and extension."""

from __future__ import annotations

import pytest

from codehearth.errors import InvalidRequest
from codehearth.text.languages import find_language, languages


@pytest.mark.parametrize(
    ("text", "tag_line"),
    [
        ("python", "# language: Python"),
        ("Python", "# language: Python"),
        (".py", "# language: Python"),
        ("cpp", "// language: C++"),
        ("html", "<!-- language: HTML -->"),
        ("ts", "// language: TypeScript"),
    ],
)
def test_a_language_is_found_by_name_alias_and_extension(text: str, tag_line: str) -> None:
    assert find_language(text).tag_line == tag_line


def test_an_unknown_language_gets_a_suggestion() -> None:
    with pytest.raises(InvalidRequest) as caught:
        find_language("pyhton")

    assert "Python" in str(caught.value.hint)


def test_there_are_a_hundred_languages() -> None:
    assert len(languages()) >= 100
