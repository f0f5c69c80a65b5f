"""What is looked for, and what of it is shown."""

from __future__ import annotations

import pytest

from codehearth.repo.context import MAX_SNIPPETS, Found, packed
from codehearth.repo.query import MAX_TERMS, before_cursor, expression, terms_of
from codehearth.repo.shelf import same_place


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Where is parseConfig used?", ("parseconfig", "parse", "config")),
        ("what does MAX_BODY_BYTES mean", ("max_body_bytes", "mean", "body", "bytes")),
        ("how do I write a function for this in Python", ("python",)),
        ("invoices parsed by parsers, used once", ("invoic", "pars", "once")),
        ("HTTPServer", ("httpserver", "http", "server")),
        ("如何解析配置", ("如何解", "何解析", "解析配", "析配置")),
        ("a b 1 22 x = y", ()),
        ("", ()),
    ],
)
def test_the_telling_words(text: str, terms: tuple[str, ...]) -> None:
    assert terms_of(text) == terms


def test_there_are_never_too_many_terms_and_quotes_are_harmless() -> None:
    assert len(terms_of(" ".join(f"name_{n}" for n in range(99)))) == MAX_TERMS
    assert terms_of("early " + "x " * 20_000 + "late") == ("late",)
    assert expression(('a"b', "c")) == '"a""b" OR "c"'


def test_the_line_that_is_typed_takes_no_part() -> None:
    before = before_cursor("one\ntwo\nthr")

    assert before == "one\ntwo" == before_cursor("one\ntwo\nthree.four(")
    assert before_cursor("only") == ""


def found(path: str, first: int, last: int, score: float, size: int = 10) -> Found:
    return Found(path, first, last, "x" * size, score)


def test_the_best_that_fit_are_shown_and_neighbours_are_joined() -> None:
    chosen = packed(
        [
            found("a.py", 20, 30, 5),
            found("a.py", 1, 18, 9),
            found("b.py", 1, 5, 8, size=1000),
            found("c.py", 1, 5, 1),
        ],
        max_characters=500,
    )

    assert [one.place for one in chosen] == ["a.py:1-30"]
    assert chosen[0].text == "x" * 10 + "\n\n" + "x" * 10
    assert packed([found("a", 1, 2, 1)], max_characters=3) == () == packed([], max_characters=9)


def test_source_comes_before_its_tests_and_there_are_never_too_many() -> None:
    chosen = packed([found("tests/test_a.py", 1, 2, 10), found("a.py", 1, 2, 8)], max_characters=99)
    many = packed([found(f"{n}.py", 1, 2, 10) for n in range(50)], max_characters=10**6)

    assert [one.path for one in chosen] == ["a.py", "tests/test_a.py"]
    assert len(many) == MAX_SNIPPETS


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("git@example.org:team/shop.git", "https://example.org/team/shop", True),
        ("ssh://git@example.org/team/shop.git", "https://u:p@example.org/team/shop/", True),
        ("https://example.org/team/shop", "https://example.org/team/shop2", False),
        ("https://example.org/a/shop", "https://example.com/a/shop", False),
    ],
)
def test_one_repository_has_many_addresses(one: str, other: str, is_same: bool) -> None:
    assert same_place(one, other) is is_same
