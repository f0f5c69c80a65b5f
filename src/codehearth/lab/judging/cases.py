"""Code in several languages against cases: what goes in, and what must come out.

The right answers stay outside of the sandbox, so that no code can read them, nor forge a verdict.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from codehearth.lab.judging.harness import in_node, in_python
from codehearth.lab.judging.verdict import EMPTY, FAILURES, Verdict, verdict_of
from codehearth.lab.sandbox import Limits, Outcome, Program, Protection, run
from codehearth.lab.sandbox.interpreters import program_path, python_for

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Language:
    """How a language is run here. `program` must be found in a system folder; None: always there.

    `comment` begins a line of comment; `build` and `start` are for whole programs.
    """

    name: str
    title: str
    program: str | None
    comment: str
    source: str
    build: tuple[str, ...] = ()
    start: tuple[str, ...] = ()

    def why_not(self, protection: Protection) -> str | None:
        """Why it cannot be run here; None where it can."""
        if self.program is not None and program_path(self.program) is None:
            return f"{self.program} is not installed"
        if self.build and protection == "landlock" and os.geteuid() != 0:
            return "landlock lets no compiler make a file executable"
        return None


LANGUAGES = {
    one.name: one
    for one in (
        Language("python", "Python", None, "#", "main.py"),
        Language("javascript", "JavaScript", "node", "//", "main.js", start=("node", "main.js")),
        Language("bash", "Bash", "bash", "#", "main.sh", start=("bash", "main.sh")),
        Language(
            "c", "C", "cc", "//", "main.c",
            build=("cc", "-std=gnu17", "-O1", "-w", "-o", "main", "main.c", "-lm"),
            start=("./main",),
        ),
    )
}  # fmt: skip

Kind = Literal["function", "program"]


@dataclass(frozen=True)
class Case:
    """`given`: a function's arguments, or a program's input; `expected`: its value or output."""

    given: Any
    expected: Any


def judge_cases(
    code: str,
    cases: Sequence[Case],
    *,
    language: Language,
    function: str | None,
    limits: Limits,
    protection: Protection,
) -> Verdict:
    """`function` None: the code is a whole program that reads and prints."""
    if not code.strip():
        return EMPTY
    if function is None:
        program = _program(code, cases, language, protection)
    else:
        program = _function(code, cases, language, function, protection)
    return compared(run(program, limits, protection), cases, function or "the program")


def _function(
    code: str, cases: Sequence[Case], language: Language, function: str, protection: Protection
) -> Program:
    order = {"code": code, "function": function, "arguments": [case.given for case in cases]}
    if language.name == "python":
        return in_python("drive_function", order, protection)
    return in_node("drive_function", order)


def _program(
    code: str, cases: Sequence[Case], language: Language, protection: Protection
) -> Program:
    order = {
        "code": code,
        "source": language.source,
        "build": language.build,
        "start": language.start or (str(python_for(protection)), "-I", language.source),
        "inputs": [case.given for case in cases],
    }
    return in_python("drive_program", order, protection, reserves_memory=True)


def compared(outcome: Outcome, cases: Sequence[Case], name: str) -> Verdict:
    """What came out against what is right; pure. The first case that is not right decides."""
    records = _records(outcome.verdict)
    for number, case in enumerate(cases):
        record = records[number] if number < len(records) else None
        if record is None:
            return verdict_of(outcome, None, is_apart=True)
        if "failed" in record:  # code can write here, too, and must not call itself right
            group = record["failed"] if record["failed"] in FAILURES else "exit"
            told = {"group": group, "detail": record.get("detail", "")}
            return verdict_of(outcome, told, is_apart=True)
        called = f"{name}({json.dumps(case.given, ensure_ascii=False)[1:-1]})"
        if "raised" in record:
            told = {"group": "exception", "detail": f"{called}: {record['raised']}"}
            return verdict_of(outcome, told, is_apart=True)
        if not is_equal(record.get("value"), case.expected):
            value = json.dumps(record.get("value"), ensure_ascii=False)[:300]
            right = json.dumps(case.expected, ensure_ascii=False)[:300]
            told = {"group": "wrong", "detail": f"{called} gave {value}, expected {right}"}
            return verdict_of(outcome, told, is_apart=True)
    return verdict_of(outcome, {"group": "passed", "num_checks": len(cases)}, is_apart=True)


def _records(written: bytes) -> list[dict[str, Any]]:
    records = []
    for line in written.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(record, dict):
            break
        records.append(record)
    return records


def is_equal(value: Any, expected: Any) -> bool:
    """Whether two JSON values are the same: numbers nearly, texts but for spaces at line ends.

    >>> is_equal([1, 0.1 + 0.2], [1.0, 0.3])
    True
    >>> is_equal(True, 1)
    False
    """
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return math.isclose(value, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    if isinstance(value, str) and isinstance(expected, str):
        return _plain_text(value) == _plain_text(expected)
    if isinstance(value, list) and isinstance(expected, list):
        pairs = zip(value, expected, strict=False)
        return len(value) == len(expected) and all(is_equal(*pair) for pair in pairs)
    if isinstance(value, dict) and isinstance(expected, dict):
        keys = value.keys() == expected.keys()
        return keys and all(is_equal(value[key], expected[key]) for key in value)
    return type(value) is type(expected) and bool(value == expected)


def _plain_text(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())
