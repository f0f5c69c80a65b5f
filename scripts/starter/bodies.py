"""A function's body in text that goes on: where it ends, and whether it is Python."""

import ast
import codeop
from itertools import takewhile


def block(text: str, *, is_whole: bool) -> str:
    """A function's body: up to the first line without indent; half a last line is dropped."""
    lines = text.split("\n")
    if not is_whole:
        lines = lines[:-1]
    return "\n".join(takewhile(_is_inside, lines)).rstrip() + "\n"


def has_left(text: str) -> bool:
    """Whether a whole line of it stands outside the function."""
    return not all(map(_is_inside, text.split("\n")[:-1]))


def _is_inside(line: str) -> bool:
    return not line.strip() or line.startswith(" ")


def parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def is_beginning(text: str) -> bool:
    """Whether more lines could make this parse: an open bracket or docstring is no mistake."""
    try:
        codeop.compile_command(text, symbol="exec")
    except (SyntaxError, ValueError, OverflowError):
        return False
    return True
