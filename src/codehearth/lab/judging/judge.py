"""Python code against Python tests: statements, functions, test cases, doctests, HumanEval's."""

from __future__ import annotations

import secrets
import threading

from codehearth.lab.judging.harness import in_python
from codehearth.lab.judging.verdict import EMPTY, Verdict, told_of, verdict_of
from codehearth.lab.sandbox import Limits, Protection, run


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
        outcome = run(in_python("check", order, protection), limits, protection, stop)
        told = told_of(outcome, secret)
        if told is None or told.get("group") != "not apart":
            break
    return verdict_of(outcome, told, is_apart=is_apart)
