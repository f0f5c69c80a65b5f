"""Plain values as JSON and back, so that two processes can call each other's functions.

Only values of exactly the built-in types pass: a subclass may claim to equal anything. Nothing here
runs code of the values, as pickle would.
"""

from __future__ import annotations

import math
from typing import Any

_MAX_DEPTH = 60


class NotPlain(Exception):
    """A value that has no plain form, such as an object, a function, a generator."""


def packed(value: Any, depth: int = 0) -> Any:
    """JSON for a value; raises NotPlain."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else ["f", repr(value)]
    if depth > _MAX_DEPTH:
        raise NotPlain("a value nested too deep")
    if kind in _SEQUENCES:
        return [_SEQUENCES[kind], [packed(one, depth + 1) for one in value]]
    if kind is dict:
        pairs = [[packed(key, depth + 1), packed(one, depth + 1)] for key, one in value.items()]
        return ["d", pairs]
    if kind in (bytes, bytearray):
        return ["b" if kind is bytes else "a", value.hex()]
    if kind is complex:
        return ["c", [repr(value.real), repr(value.imag)]]
    if kind is range:
        return ["r", [value.start, value.stop, value.step]]
    raise NotPlain(f"a value of type {kind.__name__}")


def unpacked(form: Any) -> Any:
    """The value that `packed` made this of."""
    if not isinstance(form, list):
        return form
    tag, content = form
    if tag in _MAKERS:
        return _MAKERS[tag](unpacked(one) for one in content)
    if tag == "d":
        return {unpacked(key): unpacked(one) for key, one in content}
    if tag == "f":
        return float(content)
    if tag == "c":
        return complex(float(content[0]), float(content[1]))
    if tag == "r":
        return range(*content)
    made = bytes.fromhex(content)
    return made if tag == "b" else bytearray(made)


_SEQUENCES: dict[type, str] = {list: "l", tuple: "t", set: "s", frozenset: "z"}
_MAKERS: dict[str, Any] = {tag: kind for kind, tag in _SEQUENCES.items()}
