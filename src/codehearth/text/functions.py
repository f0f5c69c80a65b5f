"""The functions in a file of code, by its language's own grammar: name, head, body, comment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    whole = node.parent if node.parent and node.parent.type == "decorated_definition" else node
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
        first = body.named_children[0] if body.named_children else None
        if first is not None and first.type in ("expression_statement", "string"):
            string = first if first.type == "string" else first.named_children[0]
            if string.type == "string":
                after = body.named_children[1].start_byte if len(body.named_children) > 1 else None
                start = first.end_byte if after is None else after
                return _plain(string.text.decode("utf-8", "replace")), start
        return "", body.start_byte
    lines: list[str] = []
    above = node.prev_sibling
    while above is not None and "comment" in above.type:
        lines.insert(0, above.text.decode("utf-8", "replace"))
        above = above.prev_sibling
    # The brace belongs to the head.
    start = body.start_byte + 1 if content[body.start_byte : body.start_byte + 1] == b"{" else None
    return _plain("\n".join(lines)), body.start_byte if start is None else start


def _plain(comment: str) -> str:
    """A comment's words without its marks."""
    text = comment.strip()
    for quotes in ('"""', "'''"):
        text = text.removeprefix("r").removeprefix(quotes).removesuffix(quotes)
    lines = (line.strip().lstrip("/*#!").removesuffix("*/").strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line).strip()
