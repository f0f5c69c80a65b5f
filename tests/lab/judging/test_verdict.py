"""What a run means: a limit, a word of the harness, or an end without one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from codehearth.lab.judging.cases import Case, compared, is_equal
from codehearth.lab.judging.verdict import told_of, verdict_of
from codehearth.lab.sandbox import Outcome


def outcome(verdict: bytes = b"", ending: Any = "exit", stderr: str = "") -> Outcome:
    return Outcome(ending, 0, "", stderr, verdict, 0.1)


def told(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"passed",
        told(group="passed"),
        told(group="passed", secret=""),
        told(group="passed", secret="0" * 32),
        told(group="passed", secret=["the secret"]),
        b'{"group": "passed", "secret": "the secret"} and more',
        b'["passed", "the secret"]',
        b"[" * 100_000,
    ],
)
def test_without_the_secret_nothing_is_believed(written: bytes) -> None:
    assert told_of(outcome(written), "the secret") is None


@pytest.mark.parametrize(
    ("run", "document", "group"),
    [
        (outcome(), {"group": "passed"}, "passed"),
        (outcome(), {"group": "wrong", "detail": "no"}, "wrong"),
        (outcome(), None, "exit"),
        (outcome(), {"group": "nonsense"}, "exit"),
        (outcome(ending="time"), {"group": "passed"}, "time-out"),
        (outcome(ending="memory"), None, "memory"),
        (outcome(ending="disk"), None, "memory"),
        (outcome(ending="signal"), None, "exit"),
        (outcome(stderr="MemoryError"), None, "memory"),
    ],
)
def test_the_group(run: Outcome, document: dict[str, Any] | None, group: str) -> None:
    assert verdict_of(run, document, is_apart=True).group == group


CASES = (Case([1], 2), Case([2], 4))


@pytest.mark.parametrize(
    ("records", "group", "detail"),
    [
        ([{"value": 2}, {"value": 4}], "passed", ""),
        ([{"value": 2}, {"value": 5}], "wrong", "f(2) gave 5, expected 4"),
        ([{"value": 2}], "exit", "ended its process"),
        ([{"value": 2}, {"raised": "TypeError"}], "exception", "f(2): TypeError"),
        ([{"failed": "syntax", "detail": "line 1"}], "syntax", "line 1"),
        ([{"failed": "passed"}], "exit", ""),
        ([["value", 2]], "exit", ""),
    ],
)
def test_cases_are_compared_outside(records: list[Any], group: str, detail: str) -> None:
    written = b"".join(json.dumps(record).encode() + b"\n" for record in records)

    found = compared(outcome(written), CASES, "f")

    assert found.group == group
    assert detail in found.detail


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        (2.0, 2, True),
        (0.1 + 0.2, 0.3, True),
        (True, 1, False),
        (None, False, False),
        ([1, [2.0]], [1, [2]], True),
        ([1], [1, 2], False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"b": 1}, False),
        ("a \nb\n", "a\nb", True),
        ("1", 1, False),
        (float("nan"), 1, False),
    ],
)
def test_equality(value: Any, expected: Any, same: bool) -> None:
    assert is_equal(value, expected) is same
