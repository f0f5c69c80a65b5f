"""Code that passes the user's tests: what is asked, what is repaired first; pure.

Who asks and who runs the tests is elsewhere (`gateway/verifying.py`).
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Sequence

from codehearth.errors import InvalidRequest
from codehearth.lab.evaluation.extraction import code_of_chat
from codehearth.lab.judging.inside.tests import docstrings_with_examples, is_doctest
from codehearth.lab.judging.verdict import Group, Verdict

# The further on code came, the sooner it is repaired.
_NEARNESS: tuple[Group, ...] = (
    "wrong", "exception", "time-out", "exit", "memory", "syntax", "empty"
)  # fmt: skip
_MAX_DETAIL = 1500
_WRITE = "write asserts, functions or classes named test…, unittest's cases, or doctests"

_ASKED = (
    "{prompt}\n\nThe code must pass these tests:\n\n```python\n{tests}\n```\n\n"
    "Answer with the whole code in one Python code block."
)
_REPAIR = (
    "That code does not pass. {reason}:\n\n```\n{detail}\n```\n\n"
    "Answer with the corrected whole code in one Python code block."
)
_REASONS: dict[Group, str] = {
    "wrong": "A test failed",
    "exception": "It raised an error",
    "syntax": "It is not valid Python",
    "time-out": "It does not end in time",
    "memory": "It needs too much memory",
    "exit": "It ends its process",
    "empty": "There was no code block",
}


def asked(prompt: str, tests: str) -> str:
    """The user's last message, with the tests."""
    return _ASKED.format(prompt=prompt.rstrip(), tests=tests.strip("\n"))


def repair_of(verdict: Verdict) -> str:
    """What is said after an answer that failed."""
    detail = verdict.detail[-_MAX_DETAIL:] or verdict.group
    return _REPAIR.format(reason=_REASONS.get(verdict.group, "It failed"), detail=detail)


def code_of(answer: str, tests: str) -> str:
    """The code of an answer: the block that defines what the tests call."""
    return code_of_chat(answer, language="python", entry=wanted_name(tests))


def check_tests(tests: str) -> None:
    """Raises InvalidRequest for tests that check nothing: anything would pass them."""
    if is_doctest(tests):
        return
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidRequest(
            f"The tests are not Python: {error}.", param="tests", hint=_WRITE
        ) from error
    if docstrings_with_examples(tests) or any(map(_checks, _run_nodes(tree))):
        return
    raise InvalidRequest(
        "The tests check nothing, so any code would pass them.", param="tests", hint=_WRITE
    )


def _run_nodes(tree: ast.Module) -> Iterable[ast.AST]:
    """All but what lies in functions and classes that are no tests and that nobody names."""
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                is_run = name.startswith("test") or name in named
            case ast.ClassDef(name=name, bases=bases):
                is_run = name.startswith("Test") or bool(bases) or name in named
            case _:
                is_run = True
        if is_run:
            yield from ast.walk(node)


def _checks(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr.startswith(("assert", "fail"))
    return isinstance(node, ast.Assert | ast.Raise)


def wanted_name(tests: str) -> str | None:
    """The first name that the tests use and do not define: what the code is to bring."""
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _called_in_example(tests)
    known = set(dir(builtins)) | set(_defined(tree))
    names = [
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in known
    ]
    return next(iter([*_taken(tree), *names]), None) or _called_in_example(tests)


def _called_in_example(text: str) -> str | None:
    found = re.search(r"^\s*>>> .*?([A-Za-z_]\w*)\(", text, re.M)
    return found[1] if found else None


def _taken(tree: ast.AST) -> Iterable[str]:
    """What tests take from the module `solution` by name."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="solution"):
                yield from (alias.name for alias in node.names if alias.name != "*")
            case ast.Attribute(value=ast.Name(id="solution")):
                yield node.attr


def _defined(tree: ast.AST) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]


def questions(
    prompt: str, tests: str, *, num_candidates: int, temperature: float | None
) -> list[tuple[str, float]]:
    """What each candidate is asked, and at which temperature.

    Every other one is asked without the tests: it cannot cater to them, and a small model is not
    led astray. The first of each kind is the likeliest answer, the others differ; unless a
    temperature is given.
    """
    found = []
    for number in range(num_candidates):
        content = prompt if number % 2 else asked(prompt, tests)
        drawn = 0.0 if number < 2 else 0.7
        found.append((content, drawn if temperature is None else temperature))
    return found


def to_repair(verdicts: Sequence[tuple[str, Verdict]], most: int) -> list[int]:
    """Which of (code, verdict) are repaired: the nearest first, each code once."""
    order = sorted(
        range(len(verdicts)),
        key=lambda number: (_NEARNESS.index(verdicts[number][1].group), number),
    )
    seen: set[str] = set()
    chosen = []
    for number in order:
        code = verdicts[number][0].strip()
        if code not in seen:
            seen.add(code)
            chosen.append(number)
    return chosen[:most]
