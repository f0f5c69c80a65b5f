"""What a schema or grammar would cost an engine, judged before an engine sees it.

llama.cpp turns a schema into a grammar while every slot waits: 3000 enum values (23 KB) stalled
all users for 6.7 s, `minLength` of 10⁸ for a minute [measured]. So the cost is bounded here.
What this does not hold: a schema within the bounds may still be slow; the pool's stall guard
ends an engine that makes no progress.
"""

from __future__ import annotations

import re
from typing import Any

from codehearth.errors import InvalidRequest
from codehearth.wire.bounded_json import dump_json

MAX_COST = 500
MAX_BYTES = 16 * 2**10
MAX_TOOLS_COST = 4 * MAX_COST
MAX_TOOLS_BYTES = 256 * 2**10
MAX_REPEAT = 2000
MAX_PATTERN = 512

_REPEATS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_PATTERN_REPEAT = re.compile(r"\{(\d+)?(?:,(\d+)?)?\}")


def check_schema(schema: dict[str, Any], *, param: str) -> int:
    """The schema's cost: nodes plus alternatives. Raises InvalidRequest where it is too high."""
    size = len(dump_json(schema))
    if size > MAX_BYTES:
        raise _refused(param, f"has {size} bytes; at most {MAX_BYTES} are taken")
    cost = _cost(schema, param)
    if cost > MAX_COST:
        raise _refused(param, f"has {cost} nodes and alternatives; at most {MAX_COST} are taken")
    return cost


def check_tools(schemas: list[dict[str, Any]], *, param: str) -> None:
    """Each tool's parameters, and all of them together, as an engine joins them to one grammar."""
    if sum(len(dump_json(schema)) for schema in schemas) > MAX_TOOLS_BYTES:
        raise _refused(param, f"have over {MAX_TOOLS_BYTES} bytes together")
    costs = [check_schema(schema, param=f"{param}[{i}]") for i, schema in enumerate(schemas)]
    if sum(costs) > MAX_TOOLS_COST:
        raise _refused(param, f"have {sum(costs)} nodes together; {MAX_TOOLS_COST} are taken")


def loosened(schema: Any) -> Any:
    """The schema without bounds and patterns that cost too much: what it allows, it still allows.

    For tools: agents' own have such bounds (a `maxLength` of 524288 in Claude Code's, 2026-11), and
    whoever runs the tool checks its arguments anyway.
    """
    if isinstance(schema, list):
        return [loosened(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {word: loosened(value) for word, value in schema.items() if not _is_costly(word, value)}


def _is_costly(word: str, value: Any) -> bool:
    if word in _REPEATS:
        return isinstance(value, int | float) and not 0 <= value <= MAX_REPEAT
    return (
        word == "pattern"
        and isinstance(value, str)
        and (len(value) > MAX_PATTERN or _repeats_of(value) > MAX_REPEAT)
    )


def check_grammar(grammar: str, *, param: str) -> None:
    """A GBNF grammar: its size, its alternatives, and the product of its nested repeats."""
    if len(grammar.encode()) > MAX_BYTES:
        raise _refused(param, f"is longer than {MAX_BYTES} bytes")
    alternatives = grammar.count("|") + grammar.count("\n") + grammar.count("::=")
    if alternatives > MAX_COST:
        raise _refused(param, f"has over {MAX_COST} rules and alternatives")
    _check_repeats(grammar, param)


def _cost(root: dict[str, Any], param: str) -> int:
    cost = 0
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            cost += len(node)
            waiting.extend(node)
        elif isinstance(node, dict):
            cost += 1
            _check_node(node, param)
            waiting.extend(node.values())
    return cost


def _check_node(node: dict[str, Any], param: str) -> None:
    for word in _REPEATS:
        bound = node.get(word)
        if isinstance(bound, int | float) and not 0 <= bound <= MAX_REPEAT:
            raise _refused(param, f"has a {word} of {bound:g}; 0 to {MAX_REPEAT} are taken")
    reference = node.get("$ref")
    if isinstance(reference, str) and not reference.startswith("#"):
        raise _refused(param, "refers to another document; only '#…' is taken")
    pattern = node.get("pattern")
    if isinstance(pattern, str):
        if len(pattern) > MAX_PATTERN:
            raise _refused(param, f"has a pattern longer than {MAX_PATTERN} characters")
        _check_repeats(pattern, param)


def _check_repeats(text: str, param: str) -> None:
    """Nested repeats multiply; we do not parse nesting, so all of a text count as nested."""
    if _repeats_of(text) > MAX_REPEAT:
        raise _refused(param, f"repeats something over {MAX_REPEAT} times")


def _repeats_of(text: str) -> int:
    """The product of all repeats, or of the first that are too many."""
    product = 1
    for match in _PATTERN_REPEAT.finditer(text):
        numbers = [int(digits[:9]) for digits in match.groups() if digits]
        product *= max([1, *numbers])
        if product > MAX_REPEAT:
            break
    return product


def _refused(param: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"'{param}' {problem}.", param=param)
