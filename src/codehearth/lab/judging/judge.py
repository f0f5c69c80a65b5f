"""Python code against Python tests: statements, functions, test cases, doctests, HumanEval's."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from codehearth.lab.judging.verdict import EMPTY, Verdict, told_of, verdict_of
from codehearth.lab.sandbox import Limits, Outcome, Program, Protection, run
from codehearth.lab.sandbox.running import python_for

_INSIDE = Path(__file__).parent / "inside"
_START = (
    "import sys; sys.path.insert(0, sys.argv.pop()); from inside.check import run; run()"
)  # fmt: skip


def judge(
    code: str,
    tests: str,
    *,
    entry: str | None = None,
    limits: Limits,
    protection: Protection,
    stop: threading.Event | None = None,
) -> Verdict:
    """Whether the code passes the tests; `entry` names the function for a HumanEval `check`.

    Tests see the code's names, and can import them from `solution`. They run in a process apart
    from the code where their values allow it, else together with it.
    """
    if not code.strip():
        return EMPTY
    for is_apart in (True, False):
        secret = secrets.token_hex(16)
        order = {
            "code": code,
            "tests": tests,
            "entry": entry,
            "together": not is_apart,
            "secret": secret,
        }
        outcome = _run(order, limits, protection, stop)
        told = told_of(outcome, secret)
        if told is None or told.get("group") != "not apart":
            break
    return verdict_of(outcome, told, is_apart=is_apart)


def _run(
    order: Mapping[str, object],
    limits: Limits,
    protection: Protection,
    stop: threading.Event | None,
) -> Outcome:
    python = python_for(protection)
    assert python is not None
    program = Program(
        (str(python), "-I", "-S", "-c", _START, "{files}"), _files(), json.dumps(dict(order))
    )
    return run(program, limits, protection, stop)


@cache
def _files() -> dict[str, str]:
    return {
        f"inside/{path.name}": path.read_text(encoding="utf-8") for path in _INSIDE.glob("*.py")
    }
