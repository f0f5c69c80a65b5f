"""From how a run in the sandbox ended to a verdict; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from codehearth.lab.sandbox import Outcome

Group = Literal[
    "passed", "wrong", "syntax", "exception", "time-out", "memory", "exit", "empty", "tests"
]
"""Why code failed: another answer than was expected, no Python at all, an error of its own, a limit
of time, of memory or disk, an end of its process, no code in the answer; "tests": the tests
themselves cannot be run."""

FAILURES: tuple[Group, ...] = tuple(one for one in get_args(Group) if one != "passed")

_SAYS: dict[str, str] = {
    "time-out": "was still running at the time limit",
    "memory": "used more memory or disk than it may",
    "exit": "ended its process before the tests had ended",
}


@dataclass(frozen=True)
class Verdict:
    """`detail` is for people: the line that failed, both sides of it, the code's own traceback.

    `is_apart`: the tests ran in another process than the code, so that it cannot have reached them.
    """

    group: Group
    detail: str = ""
    num_checks: int = 0
    is_apart: bool = True
    stdout: str = ""
    duration_s: float = 0.0

    @property
    def has_passed(self) -> bool:
        return self.group == "passed"


EMPTY = Verdict("empty", "there is no code in the answer")


def told_of(outcome: Outcome, secret: str) -> dict[str, Any] | None:
    """What the harness wrote, None where it wrote nothing that carries the secret."""
    try:
        told = json.loads(outcome.verdict)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("secret") != secret:
        return None
    return told


def verdict_of(outcome: Outcome, told: dict[str, Any] | None, *, is_apart: bool) -> Verdict:
    """1. A limit that was reached. 2. What the harness says. 3. Without a word of it: an end."""
    group: Group
    if outcome.ending in ("time", "memory", "disk"):
        group = "time-out" if outcome.ending == "time" else "memory"
        detail, num_checks = _SAYS[group], 0
    elif told is not None and told.get("group") in get_args(Group):
        group, detail = told["group"], str(told.get("detail", ""))
        num_checks = int(told.get("num_checks", 0))
    elif "MemoryError" in outcome.stderr:
        group, detail, num_checks = "memory", _SAYS["memory"], 0
    else:
        group, detail, num_checks = "exit", _SAYS["exit"], 0
    return Verdict(group, detail, num_checks, is_apart, outcome.stdout, outcome.duration_s)
