"""The functions in a file of code, by its language's own grammar: name, head, body, comment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codehearth.text.syntax import parsed

_MAX_CHARACTERS = 400_000

# The nodes that define a function, by language.
_DEFINITIONS: Mapping[str, frozenset[str]] = {
    "Python": frozenset({"function_definition"}),
    "JavaScript": frozenset({"function_declaration", "method_definition"}),
    "TypeScript": frozenset({"function_declaration", "method_definition"}),
    "Java": frozenset({"method_declaration", "constructor_declaration"}),
    "C": frozenset({"function_definition"}),
    "C++": frozenset({"function_definition"}),
    "Go": frozenset({"function_declaration", "method_declaration"}),
    "Rust": frozenset({"function_item"}),
    "Bash": frozenset({"function_definition"}),
}


# What stands around a definition and belongs to it.
_AROUND = frozenset({"decorated_definition", "export_statement", "template_declaration"})


@dataclass(frozen=True)
class Function:
    """Places are indices into the file's text: `start` to `body_start` is the head.

    `comment` is the docstring or the comment above, without its marks.
    """

    name: str
    start: int
    body_start: int
    end: int
    comment: str


def functions(language: str, text: str) -> tuple[Function, ...]:
    """The functions of a file in their order, those inside of others left out.

    Empty for a language without a grammar here. A function with an error in it is left out.
    """
    if language not in _DEFINITIONS or len(text) > _MAX_CHARACTERS:
        return ()
    content = text.encode("utf-8", "replace")
    tree = parsed(language, content)
    if tree is None:
        return ()
    found = _definitions(tree.root_node, _DEFINITIONS[language])
    return tuple(made for node in found if (made := _function(language, content, node)))


def _definitions(node: Any, kinds: frozenset[str]) -> Iterator[Any]:
    """Definitions outside of other definitions, without recursion: files may nest deeply."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current.type in kinds:
            yield current
        else:
            waiting.extend(reversed(current.children))


def _function(language: str, content: bytes, node: Any) -> Function | None:
    body = node.child_by_field_name("body")
    name = _name(node)
    if body is None or name is None or node.has_error:
        return None
    whole = node.parent if node.parent and node.parent.type in _AROUND else node
    comment, body_byte = _comment(language, content, whole, body)
    if body_byte >= node.end_byte:
        return None

    def place(byte: int) -> int:
        return len(content[:byte].decode("utf-8", "replace"))

    return Function(
        name.decode("utf-8", "replace"),
        place(whole.start_byte),
        place(body_byte),
        place(node.end_byte),
        comment,
    )


def _name(node: Any) -> bytes | None:
    """The field `name`, or what a C declarator declares in the end."""
    found = node.child_by_field_name("name")
    while found is None:
        node = node.child_by_field_name("declarator")
        if node is None:
            return None
        found = node if node.type.endswith("identifier") else None
    text: bytes = found.text
    return text


def _comment(language: str, content: bytes, node: Any, body: Any) -> tuple[str, int]:
    """What the function says of itself, and where its body begins behind that."""
    if language == "Python":
        return _docstring(body)
    has_brace = content[body.start_byte : body.start_byte + 1] == b"{"  # it belongs to the head
    return _comment_above(node), body.start_byte + has_brace


def _docstring(body: Any) -> tuple[str, int]:
    """The words of a docstring, and where the next statement begins."""
    first, *rest = body.named_children or [None]
    string = first
    if first is not None and first.type == "expression_statement":
        string = first.named_children[0]
    if string is None or string.type != "string":
        return "", body.start_byte
    words = "".join(_text(part) for part in string.children if part.type == "string_content")
    return _without_blanks(words.splitlines()), rest[0].start_byte if rest else first.end_byte


def _comment_above(node: Any) -> str:
    """The words of the comments that end on the line above, without their marks."""
    lines: list[str] = []
    below, above = node, node.prev_sibling
    while above is not None and "comment" in above.type:
        text = _text(above)
        # Rust's comments of documentation hold the end of their line.
        last_row = above.start_point[0] + text.rstrip().count("\n")
        if below.start_point[0] - last_row > 1 or text.startswith("#!"):
            break
        lines[:0] = text.splitlines()
        below, above = above, above.prev_sibling
    return _without_blanks([line.strip().lstrip("/*#!").removesuffix("*/") for line in lines])


def _without_blanks(lines: Sequence[str]) -> str:
    return "\n".join(line.strip() for line in lines if line.strip())


def _text(node: Any) -> str:
    return str(node.text.decode("utf-8", "replace"))
