"""Hostile JSON is refused with a reason and costs little."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.errors import InvalidRequest
from codehearth.wire.bounded_json import dump_json, parse_json, parse_object

finite = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-(2**63), 2**63)
text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | whole | finite | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
)


@given(values)
def test_what_is_fine_comes_back_unchanged(value: object) -> None:
    assert parse_json(dump_json(value)) == value
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": -1e999}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\udc00x"}',
        b'{"a": "\xed\xa0\x80"}',
        b"\xff\xfe{\x00}\x00",
        b'{"a": 1' + b"0" * 30 + b"}",
        b'{"a": 1' + b"0" * 10_000 + b"}",
        b"[" * 65 + b"]" * 65,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_not_fine_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="The body"):
        parse_json(data)


def test_sixty_four_levels_are_fine() -> None:
    assert parse_json(b"[" * 64 + b"]" * 64)


@pytest.mark.parametrize("data", [b"1", b"[]", b'"x"', b"null"])
def test_an_object_is_demanded_where_one_is_needed(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="must be a JSON object"):
        parse_object(data)
