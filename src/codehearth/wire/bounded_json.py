"""JSON from strangers: parsed with bounds, so that no document can hurt the process.

What it holds: nesting to 64, no NaN or infinity (also not as 1e999), no lone surrogates, no
numbers of thousands of digits, UTF-8 only. What it does not: the size in bytes, which the reader
of the body bounds before.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic_core import from_json, to_json

from codehearth.errors import InvalidRequest

MAX_DEPTH = 64
_MAX_WHOLE = 2**64


def parse_json(data: bytes) -> Any:
    """The value of a JSON document; raises InvalidRequest that says what is wrong and where."""
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error
    _check(value)
    return value


def parse_object(data: bytes) -> dict[str, Any]:
    """As `parse_json`, for a document that must be an object."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return value


def dump_json(value: Any) -> bytes:
    """Compact UTF-8 JSON; text stays readable, it is not escaped to ASCII.

    Written by pydantic's serializer, at a seventh of the standard library's cost: it runs for
    every chunk of every stream.
    """
    return to_json(value)


def _check(value: Any) -> None:
    """Walks level by level instead of recursing, so that depth costs no stack."""
    level, depth = [value], 0
    while level:
        if depth == MAX_DEPTH and any(isinstance(node, dict | list) for node in level):
            raise InvalidRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")
        level = [child for node in level for child in _children(node)]
        depth += 1


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    if isinstance(node, list):
        return node
    if isinstance(node, float) and not math.isfinite(node):
        raise InvalidRequest("The body holds a number that is not finite.")
    if isinstance(node, int) and abs(node) >= _MAX_WHOLE:
        raise InvalidRequest("The body holds a number that is too large.")
    return []
