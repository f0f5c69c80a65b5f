"""What words and places mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.cli.words import Asked, Place, asked_by, joined_prompt, place_in, split_at
from codehearth.errors import InvalidRequest, ModelNotFound

MODELS = ("starter", "qwen2.5-coder-7b")


def asked(*words: str, model: str | None = None) -> Asked:
    return asked_by(
        words,
        model=model,
        is_model=lambda word: word in MODELS,
        near=lambda word: ("qwen2.5-coder-7b",) if word.startswith("qwen") else (),
    )


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ((), Asked(None, None)),
        (("starter",), Asked("starter", None)),
        (("hello",), Asked(None, "hello")),
        (("write a sort",), Asked(None, "write a sort")),
        (("starter", "write a sort"), Asked("starter", "write a sort")),
        (("starter", "write", "a", "sort"), Asked("starter", "write a sort")),
        (("unknown", "write a sort"), Asked("unknown", "write a sort")),
    ],
)
def test_the_first_word_is_the_model_unless_it_is_the_only_one_and_none(
    words: tuple[str, ...], meant: Asked
) -> None:
    assert asked(*words) == meant


def test_with_the_option_all_words_are_the_prompt() -> None:
    assert asked("starter", "is", "a", "word", model="m") == Asked("m", "starter is a word")


def test_a_misspelt_model_is_not_sent_as_a_prompt() -> None:
    with pytest.raises(ModelNotFound) as caught:
        asked("qwen2.5-codr:7b")

    assert caught.value.nearest == ("qwen2.5-coder-7b",)


def test_what_is_piped_comes_before_the_question() -> None:
    assert joined_prompt("def f(): pass\n", "explain") == "def f(): pass\n\nexplain"
    assert joined_prompt("\n", "explain") == "explain"
    assert joined_prompt("only this\n", None) == "only this"
    assert joined_prompt("", None) == ""


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("app.py", Place("app.py")),
        ("app.py:42", Place("app.py", 42)),
        ("app.py:42:7", Place("app.py", 42, 7)),
        ("app.py:42:", Place("app.py", 42)),
        ("C:stuff.py", Place("C:stuff.py")),
        ("-:3", Place("-", 3)),
    ],
)
def test_a_place_is_a_file_a_line_and_a_column(text: str, place: Place) -> None:
    assert place_in(text, exists=lambda _: False) == place


def test_a_file_whose_name_looks_like_a_place_is_a_file() -> None:
    assert place_in("odd:12", exists=lambda name: name == "odd:12") == Place("odd:12")


@pytest.mark.parametrize("text", ["app.py:0", "app.py:3:0"])
def test_lines_and_columns_begin_with_one(text: str) -> None:
    with pytest.raises(InvalidRequest):
        place_in(text, exists=lambda _: False)


@pytest.mark.parametrize(
    ("place", "before"),
    [
        (Place("f"), "ab\r\nc\x0cd\n"),
        (Place("f", 1), "ab"),
        (Place("f", 1, 1), ""),
        (Place("f", 2), "ab\r\nc\x0cd"),
        (Place("f", 2, 2), "ab\r\nc"),
        (Place("f", 3), "ab\r\nc\x0cd\n"),
    ],
)
def test_a_text_is_split_as_editors_count(place: Place, before: str) -> None:
    text = "ab\r\nc\x0cd\n"

    assert split_at(text, place) == (before, text[len(before) :])


@pytest.mark.parametrize("place", [Place("f", 4), Place("f", 1, 4), Place("f", 9, 1)])
def test_a_place_outside_the_text_is_refused_with_what_there_is(place: Place) -> None:
    with pytest.raises(InvalidRequest, match=r"has \d"):
        split_at("ab\nc\n", place)


@given(st.text(), st.integers(1, 6), st.none() | st.integers(1, 6))
def test_nothing_of_the_text_is_lost_or_doubled(text: str, line: int, column: int | None) -> None:
    try:
        prefix, suffix = split_at(text, Place("f", line, column))
    except InvalidRequest:
        return

    assert prefix + suffix == text
    assert prefix.count("\n") == line - 1
