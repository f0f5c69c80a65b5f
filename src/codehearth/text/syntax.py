"""Whether a statement is complete, by its language's own grammar (tree-sitter).

The grammars are single wheels and are loaded when the first statement of a language is judged.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

# The module and the function that gives the grammar.
_GRAMMARS: Mapping[str, tuple[str, str]] = {
    "Python": ("tree_sitter_python", "language"),
    "JavaScript": ("tree_sitter_javascript", "language"),
    "TypeScript": ("tree_sitter_typescript", "language_tsx"),
    "Java": ("tree_sitter_java", "language"),
    "C": ("tree_sitter_c", "language"),
    "C++": ("tree_sitter_cpp", "language"),
    "Go": ("tree_sitter_go", "language"),
    "Rust": ("tree_sitter_rust", "language"),
    "Bash": ("tree_sitter_bash", "language"),
}

# Where a statement may stand: it is complete if it is right in one of these places.
_PLACES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Python": (
        ("", ""),
        ("if 0:\n    0\n", ""),
        ("try:\n    0\n", ""),
        ("match 0:\n", "\n"),
    ),
    "JavaScript": (
        ("", ""),
        ("async function f() {\n", "\n}"),
        ("class A {\n", "\n}"),
        ("x = {\n", "\n}"),
        ("if (0) {\n", ""),
        ("try {\n", ""),
        ("switch (0) {\n", "\n}"),
    ),
    "TypeScript": (
        ("", ""),
        ("async function f() {\n", "\n}"),
        ("class A {\n", "\n}"),
        ("interface A {\n", "\n}"),
        ("x = {\n", "\n}"),
        ("if (0) {\n", ""),
        ("try {\n", ""),
        ("switch (0) {\n", "\n}"),
    ),
    "Java": (
        ("class A {\n", "\n}"),
        ("class A { void f() {\n", "\n} }"),
        ("", ""),
        ("class A { void f() { if (a) {\n", "\n} }"),
        ("class A { void f() { try {\n", "\n} }"),
        ("class A { void f() { switch (a) {\n", "\n} } }"),
        ("enum A {\n", "\n}"),
    ),
    "C": (
        ("void f() {\n", "\n}"),
        ("", ""),
        ("struct a {\n", "\n};"),
        ("void f() { if (a) {\n", "\n}"),
        ("void f() { switch (a) {\n", "\n} }"),
    ),
    "C++": (
        ("void f() {\n", "\n}"),
        ("", ""),
        ("class A {\n", "\n};"),
        ("void f() { if (a) {\n", "\n}"),
        ("void f() { try {\n", "\n}"),
        ("void f() { switch (a) {\n", "\n} }"),
    ),
    "Go": (
        ("package a\nfunc f() {\n", "\n}"),
        ("package a\n", ""),
        ("package a\ntype a struct {\n", "\n}"),
        ("package a\nfunc f() { if a {\n", "\n}"),
        ("package a\nfunc f() { switch a {\n", "\n} }"),
        ("package a\ntype a interface {\n", "\n}"),
    ),
    "Rust": (
        ("fn f() {\n", "\n}"),
        ("", ""),
        ("struct A {\n", "\n}"),
        ("fn f() { match a {\n", "\n} }"),
        ("fn f() { if a {\n", "\n}"),
        ("impl A {\n", "\n}"),
        ("fn f() { a\n", ";}"),
    ),
    "Bash": (("", ""), ("case a in\n", "\nesac"), ("if a; then a\n", "")),
}

_MAX_BYTES = 64_000


def is_complete(language: str, statement: str) -> bool | None:
    """Whether the text is one or more whole statements; None where nobody here can tell.

    A part of a statement that can stand alone counts as whole: `x = a` of `x = a + b`.
    """
    parse = _parser(language)
    if parse is None or len(statement) > _MAX_BYTES:
        return None
    text = textwrap.dedent(statement.expandtabs(4)) if language == "Python" else statement
    for before, after in _PLACES[language]:
        if not _has_error(parse(f"{before}{text}{after}".encode())):
            return True
    return False


def parsed(language: str, content: bytes) -> Any:
    """The syntax tree of a file; None for a language without a grammar here."""
    parse = _parser(language)
    return None if parse is None else parse(content)


def _has_error(tree: Any) -> bool:
    return bool(tree.root_node.has_error)


@cache
def _parser(language: str) -> Any:
    """The parse function of a grammar; None without one, or where the wheel is missing."""
    if language not in _GRAMMARS:
        return None
    module_name, function = _GRAMMARS[language]
    try:
        from tree_sitter import Language, Parser

        grammar = getattr(import_module(module_name), function)()
        return Parser(Language(grammar)).parse
    except (ImportError, ValueError):  # a wheel that is not there, or of another ABI
        return None
