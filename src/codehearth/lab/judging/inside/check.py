"""The process that holds the tests and the secret; the code is in another one.

It reads its order from standard input, calls the code's functions through a pipe, compares plain
values, and writes the verdict with the secret to descriptor 3. So the code can neither read the
secret nor reach the comparison: whatever it patches, prints or exits is its own process's.

1. Code and tests are parsed.
2. "apart": the code is started; its functions are stood in for, the tests run here.
3. Where a value is not plain (an object, a generator), or the tests use a class of the code, "not
   apart" is the verdict, and whoever asked may order "together": tests and code in one process,
   which gets a word for its result only after the tests have ended. Code that knows this harness
   and means to deceive it could do that there; in "apart" it could not.
"""

from __future__ import annotations

import ast
import builtins
import ctypes
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from .tests import (
    CodeEnded,
    CodeFailed,
    NotApart,
    docstrings_with_examples,
    is_doctest,
    run_tests,
)
from .values import NotPlain, packed, unpacked

_VERDICT_FD = 3
_PR_SET_DUMPABLE = 4


def run() -> None:
    sys.set_int_max_str_digits(0)  # a factorial is a plain value, too
    order = json.loads(sys.stdin.read())
    secret = order.pop("secret")
    if sys.platform == "linux":  # so that nobody of the same user reads this process's memory
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.set_inheritable(_VERDICT_FD, False)
    verdict = _judged(order)
    document = json.dumps({**verdict, "secret": secret}).encode()
    while document:
        document = document[os.write(_VERDICT_FD, document) :]


def _judged(order: dict[str, Any]) -> dict[str, Any]:
    try:
        compile(order["code"], "solution", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f"solution, line {getattr(error, 'lineno', None)}: "
        return {"group": "syntax", "detail": f"{where}{type(error).__name__}: {error}"}
    try:
        if not is_doctest(order["tests"]):
            compile(order["tests"], "tests", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return {"group": "tests", "detail": f"tests: {type(error).__name__}: {error}"}
    code = _Code(order)
    first = code.hear()
    if first is None:
        return {"group": "exit", "detail": "the code ended its process while it was loaded"}
    if "failed" in first:
        return {"group": first["failed"], "detail": first["detail"]}
    if order["together"]:
        return _together(code)
    try:
        return run_tests(order["tests"], _stand_ins(code, first, order["tests"]), order["entry"])
    except NotApart as error:
        return {"group": "not apart", "detail": str(error)}


def _together(code: _Code) -> dict[str, Any]:
    word = os.urandom(16).hex()
    code.tell_line(word)
    last = code.hear()
    if last is None or last.get("word") != word:
        return {"group": "exit", "detail": "the code ended its process before the tests had ended"}
    result: dict[str, Any] = last["result"]
    return result


def _stand_ins(code: _Code, described: dict[str, Any], tests: str) -> dict[str, Any]:
    used = _names_used(tests)
    for name in described["others"]:
        if name in used:
            raise NotApart(f"the tests use '{name}', which is no function or plain value")
    names: dict[str, Any] = {name: _function(code, name) for name in described["functions"]}
    names |= {name: unpacked(value) for name, value in described["values"].items()}
    for name, module in described["modules"].items():
        if name in used:
            names[name] = importlib.import_module(module)
    return names


def _names_used(tests: str) -> set[str]:
    if is_doctest(tests):
        return _words(tests)
    used = _words(" ".join(docstrings_with_examples(tests)))
    for node in ast.walk(ast.parse(tests)):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.alias):
            used.add(node.name)
    return used


def _words(text: str) -> set[str]:
    return set("".join(c if c.isidentifier() or c.isdigit() else " " for c in text).split())


def _function(code: _Code, name: str) -> Callable[..., Any]:
    """Stands in for a function of the code."""

    def call(*args: Any, **keywords: Any) -> Any:
        try:
            code.tell({"name": name, "args": packed(args), "keywords": packed(keywords)})
        except NotPlain as error:
            raise NotApart(f"{name} is given {error}") from error
        answer = code.hear()
        if answer is None:
            raise CodeEnded(f"{name} ended the process")
        if "not_plain" in answer:
            raise NotApart(f"{name} returned {answer['not_plain']}")
        if "raised" in answer:
            raise _as_raised(answer) from CodeFailed(answer["told"])
        for mine, theirs in zip(args, unpacked(answer["args"]), strict=False):
            _take_over(mine, theirs)
        return unpacked(answer["value"])

    call.__name__ = call.__qualname__ = name
    return call


def _take_over(mine: Any, theirs: Any) -> None:
    """What the function did to its arguments."""
    if isinstance(mine, list | bytearray) and mine != theirs:
        mine[:] = theirs
    elif isinstance(mine, dict | set) and mine != theirs:
        mine.clear()
        mine.update(theirs)


def _as_raised(answer: dict[str, Any]) -> Exception:
    """Only errors of the language itself; SystemExit and its kin would end us."""
    kind = getattr(builtins, answer["raised"], None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(answer["says"])
        except TypeError:
            pass
    if answer["raised"] in ("SystemExit", "KeyboardInterrupt"):
        return CodeEnded(f"the code raised {answer['raised']}")
    return RuntimeError(f"{answer['raised']}: {answer['says']}")


class _Code:
    """The process with the code, and the pipes to it."""

    def __init__(self, order: dict[str, Any]) -> None:
        to_read, to_tell = os.pipe()
        to_hear, to_say = os.pipe()
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        start = "import sys; sys.path.insert(0, sys.argv.pop()); "
        start += "from inside.candidate import run; run()"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", start, str(to_read), str(to_say), here],
            stdin=subprocess.DEVNULL,
            pass_fds=(to_read, to_say),
        )
        os.close(to_read)
        os.close(to_say)
        self._tell = os.fdopen(to_tell, "w", encoding="utf-8")
        self._hear = os.fdopen(to_hear, "r", encoding="utf-8")
        self.tell(order)

    def tell(self, document: dict[str, Any]) -> None:
        self.tell_line(json.dumps(document))

    def tell_line(self, line: str) -> None:
        try:
            self._tell.write(line + "\n")
            self._tell.flush()
        except BrokenPipeError:
            pass  # it is gone; whoever listens next hears so

    def hear(self) -> dict[str, Any] | None:
        """The next line; None where there is none, or it is none of ours."""
        try:
            told = json.loads(self._hear.readline() or "null")
        except (ValueError, RecursionError):
            return None
        return told if isinstance(told, dict) else None
