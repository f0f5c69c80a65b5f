"""The functions of a file, by the grammar of its language."""

from __future__ import annotations

import pytest

from codehearth.text.functions import functions

PYTHON = '''import os


def add(a, b):
    """Add two numbers.

    Nothing else.
    """
    return a + b


class Box:
    @property
    def size(self):
        # 大小
        def inner():
            return 1
        return inner()

    def none(self):
        """Only words."""
'''


def spans(language: str, text: str) -> list[tuple[str, str, str]]:
    return [
        (one.name, text[one.body_start : one.end].strip(), one.comment)
        for one in functions(language, text)
    ]


def test_pythons_functions_have_their_docstring_and_the_body_behind_it() -> None:
    found = spans("Python", PYTHON)

    assert [name for name, _, _ in found] == ["add", "size"]
    assert found[0][1:] == ("return a + b", "Add two numbers.\nNothing else.")
    assert found[1][1].endswith("return inner()")


def test_a_decorated_function_begins_at_its_decorator() -> None:
    (_, size) = functions("Python", PYTHON)

    assert PYTHON[size.start :].startswith("@property")


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("JavaScript", "// Adds.\nfunction add(a, b) { return a + b; }",
         ("add", "return a + b; }", "Adds.")),
        ("TypeScript", "class A { size(): number { return 1 } }", ("size", "return 1 }", "")),
        ("Java", "class A { /** Adds. */ int add(int a) { return a; } }",
         ("add", "return a; }", "Adds.")),
        ("C", "int *add(int a) { return a; }", ("add", "return a; }", "")),
        ("C++", "int A::add(int a) { return a; }", ("A::add", "return a; }", "")),
        ("Go", "// Add adds.\nfunc Add(a int) int { return a }",
         ("Add", "return a }", "Add adds.")),
        ("Rust", "/// Adds.\nfn add(a: i32) -> i32 { a }", ("add", "a }", "Adds.")),
        ("Rust", "/// Adds.\n/// Twice.\nfn add(a: i32) -> i32 { a }",
         ("add", "a }", "Adds.\nTwice.")),
        ("Bash", "add() { echo 1; }", ("add", "echo 1; }", "")),
        ("Bash", "#!/bin/bash\nadd() { echo 1; }", ("add", "echo 1; }", "")),
        ("Go", "// Copyright\n\nfunc Add(a int) int { return a }", ("Add", "return a }", "")),
        ("JavaScript", "/**\n * Adds.\n */\nexport function add(a) { return a; }",
         ("add", "return a; }", "Adds.")),
        ("Python", 'def back(x):\n    """returns *x* as it is"""\n    return x\n',
         ("back", "return x", "returns *x* as it is")),
        ("Python", 'def back(x):\n    r"return x"\n    return x\n',
         ("back", "return x", "return x")),
    ],
)  # fmt: skip
def test_each_grammar_tells_name_body_and_comment(
    language: str, text: str, expected: tuple[str, str, str]
) -> None:
    assert spans(language, text) == [expected]


@pytest.mark.parametrize(
    ("language", "text"),
    [("Python", "def broken(:\n  pass"), ("Python", ""), ("Cobol", "x"), ("C", "int x;")],
)
def test_what_is_no_whole_function_is_left_out(language: str, text: str) -> None:
    assert functions(language, text) == ()


def test_places_count_characters_and_not_bytes() -> None:
    text = "# 你好，世界\ndef f():\n    return '好'\n"

    assert spans("Python", text) == [("f", "return '好'", "")]
