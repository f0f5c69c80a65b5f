"""Infilling prompts and language tags, by tables."""

from __future__ import annotations

import pytest

from codehearth.errors import InvalidRequest, Unsupported
from codehearth.text.languages import find_language, languages
from codehearth.text.prompts import FIM_FORMATS, fim_format_of, language_prompt, render_fim


def test_qwen_puts_the_prefix_first() -> None:
    prompt = render_fim("qwen", prefix="def f(", suffix="): pass")

    assert prompt == "<|fim_prefix|>def f(<|fim_suffix|>): pass<|fim_middle|>"


def test_codestral_puts_the_suffix_first() -> None:
    assert render_fim("codestral", prefix="a", suffix="b") == "[SUFFIX]b[PREFIX]a"


@pytest.mark.parametrize("format_name", [None, "poetry"])
def test_a_model_without_a_format_says_so(format_name: str | None) -> None:
    with pytest.raises(Unsupported, match="cannot fill in the middle"):
        render_fim(format_name, prefix="a", suffix="b")


@pytest.mark.parametrize("format_name", FIM_FORMATS)
def test_a_mark_inside_the_users_text_is_refused(format_name: str) -> None:
    mark = FIM_FORMATS[format_name].suffix_mark

    with pytest.raises(InvalidRequest) as caught:
        render_fim(format_name, prefix="a", suffix=f"x{mark}y")

    assert caught.value.param == "suffix"


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


def test_the_tag_line_stands_above_the_prompt() -> None:
    assert language_prompt("# language: Python", "# sort\n") == "# language: Python\n# sort\n"


QWEN_MARKS = {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"}


@pytest.mark.parametrize(
    ("marks", "preferred", "expected"),
    [
        (QWEN_MARKS, None, "qwen"),
        (QWEN_MARKS, "codegemma", "codegemma"),
        (QWEN_MARKS, "starcoder", None),
        ({"▁<PRE>", "▁<SUF>", "▁<MID>"}, None, "codellama"),
        (set(), "qwen", None),
        (set(), None, None),
    ],
)
def test_a_format_counts_only_if_the_vocabulary_has_its_marks(
    marks: set[str], preferred: str | None, expected: str | None
) -> None:
    assert fim_format_of(marks, preferred=preferred) == expected
