"""Tests run against a namespace: statements, functions, classes, cases, doctests, HumanEval's.

What came of it is a dictionary: "group" (passed, wrong, exception, memory, exit, tests), "detail",
"num_checks". "tests" means that the tests themselves cannot be run.
"""

from __future__ import annotations

import ast
import sys
import traceback
import types
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

NAME = "tests"
MODULE = "solution"
_MAX_DETAIL = 2000


class NotApart(BaseException):
    """Code and tests need one process. No test may catch it."""


class CodeEnded(Exception):
    """The code ended its process instead of returning."""


class CodeFailed(Exception):
    """Carries what the code's own traceback says, as the cause of what it raised."""


def run_tests(source: str, names: Mapping[str, Any], entry: str | None) -> dict[str, Any]:
    """Everything in the source once; stops at the first failure.

    `names` are the code's; `entry` is the function that a HumanEval `check` gets.
    """
    module = types.ModuleType(MODULE)
    module.__dict__.update(names)
    sys.modules[MODULE] = module
    namespace = {**names, "__name__": NAME}
    count = 0
    try:
        if is_doctest(source):
            return _run_doctest(source, namespace)
        exec(compile(source, NAME, "exec"), namespace)
        count = _num_asserts(source)
        if entry is not None:
            namespace["check"](namespace[entry])
            return _result("passed", "", max(1, count))
        for found in list(namespace.values()):
            if _is_test_function(found):
                _call(found)
                count += 1
            elif _is_test_case(found):
                count += _run_case(found)
            elif _is_test_class(found):
                count += _run_class(found)
        for examples in docstrings_with_examples(source):
            result = _run_doctest(examples, namespace)
            count += result["num_checks"]
            if result["group"] != "passed":
                return result
    except NotApart:
        raise
    except BaseException as error:
        return _failure(error, source, count)
    return _result("passed", "", count)


def is_doctest(source: str) -> bool:
    """Whether the text is a dialogue with Python, and no module that holds some."""
    with suppress(SyntaxError, ValueError):
        ast.parse(source)
        return False
    return _has_examples(source)


def _has_examples(text: str) -> bool:
    return any(line.lstrip().startswith(">>> ") for line in text.splitlines())


def docstrings_with_examples(source: str) -> list[str]:
    """Those of the module, its functions and its classes that hold a dialogue with Python."""
    kinds = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [
        ast.get_docstring(one) for one in ast.walk(ast.parse(source)) if isinstance(one, kinds)
    ]
    return [text for text in found if text and _has_examples(text)]


def _num_asserts(source: str) -> int:
    body = ast.parse(source).body
    return sum(isinstance(node, ast.Assert) for node in body)


def _is_test_function(found: Any) -> bool:
    if not isinstance(found, types.FunctionType) or not found.__name__.startswith("test"):
        return False
    return found.__module__ == NAME


class NotRunnable(Exception):
    """A test that cannot be run here, whatever the code is."""


def _call(test: Any) -> None:
    """Raises what the test raises, and NotRunnable for arguments that only pytest gives."""
    import inspect

    parameters = inspect.signature(test).parameters.values()
    wanted = [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if wanted:
        raise NotRunnable(f"{test.__name__} takes '{wanted[0]}', and there are no fixtures here")
    done = test()
    if inspect.iscoroutine(done):
        import asyncio

        asyncio.run(done)


def _is_test_case(found: Any) -> bool:
    unittest = sys.modules.get("unittest")  # the tests have imported it, or there is none
    return unittest is not None and isinstance(found, type) and issubclass(found, unittest.TestCase)


def _run_case(case: Any) -> int:
    """Raises what the first failing test raised, and NotRunnable where all are skipped."""
    import unittest

    raised: list[BaseException] = []

    class Result(unittest.TestResult):
        def addError(self, _test: Any, told: Any) -> None:  # noqa: N802
            raised.append(told[1])
            self.stop()

        def addFailure(self, test: Any, told: Any) -> None:  # noqa: N802
            self.addError(test, told)

        def addSubTest(self, _test: Any, subtest: Any, told: Any) -> None:  # noqa: N802
            if told is not None:
                self.addError(subtest, told)

        def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
            raised.append(AssertionError(f"{test.id()} passed, though it was expected to fail"))

    result = Result()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    if raised:
        raise raised[0]
    if result.skipped and result.testsRun == len(result.skipped):
        raise NotRunnable(f"all tests of {case.__name__} are skipped: {result.skipped[0][1]}")
    return result.testsRun - len(result.skipped)


def _is_test_class(found: Any) -> bool:
    """A class as pytest finds them."""
    return isinstance(found, type) and found.__module__ == NAME and found.__name__[:4] == "Test"


def _run_class(found: Any) -> int:
    """Raises what the first failing test raised; each has an object of its own."""
    names = [name for name in dir(found) if name.startswith("test")]
    if hasattr(found, "setup_class"):
        _call(found.setup_class)
    for name in names:
        one = found()
        if hasattr(one, "setup_method"):
            _call(one.setup_method)
        _call(getattr(one, name))
    return len(names)


def _run_doctest(source: str, namespace: dict[str, Any]) -> dict[str, Any]:
    """Raises what an example raised and was not to raise."""
    import doctest

    told: list[str] = []
    raised: list[BaseException] = []

    class Runner(doctest.DocTestRunner):
        def report_failure(self, _out: Any, _test: Any, example: Any, got: str) -> None:
            told.append(
                f">>> {example.source.strip()}\nexpected: {example.want.strip()}\n"
                f"got: {got.strip()}"
            )

        def report_unexpected_exception(
            self, _out: Any, _test: Any, _example: Any, exc_info: Any
        ) -> None:
            raised.append(exc_info[1])

    test = doctest.DocTestParser().get_doctest(source, namespace, NAME, None, 0)
    done = Runner(verbose=False, optionflags=doctest.FAIL_FAST).run(test, clear_globs=False)
    if raised:
        raise raised[0]
    return _result("wrong" if done.failed else "passed", "".join(told), done.attempted)


def _failure(error: BaseException, source: str, count: int) -> dict[str, Any]:
    told = _told(error, source)
    if isinstance(error, CodeEnded | SystemExit):
        return _result("exit", str(error) or "the code ended the process", count)
    if isinstance(error, AssertionError):
        return _result("wrong", told, count)
    if isinstance(error, MemoryError):
        return _result("memory", told, count)
    if isinstance(error, NotRunnable):
        return _result("tests", str(error), count)
    is_codes = isinstance(error.__cause__, CodeFailed)
    if isinstance(error, SyntaxError | ImportError | NameError) and not is_codes:
        missing = getattr(error, "name", None)
        if isinstance(error, SyntaxError | ModuleNotFoundError) or missing is None:
            return _result("tests", told, count)
    return _result("exception", told, count)


def _told(error: BaseException, source: str) -> str:
    """The line of the tests, the values on both sides of it, and the code's own traceback."""
    parts = []
    lines = source.splitlines()
    places = [
        frame for frame in traceback.walk_tb(error.__traceback__)
        if frame[0].f_code.co_filename == NAME
    ]  # fmt: skip
    if places:
        frame, number = places[-1]
        if 0 < number <= len(lines):
            parts.append(f"{NAME}, line {number}: {lines[number - 1].strip()}")
        if isinstance(error, AssertionError):
            parts += _sides(source, number, frame)
    if error.__cause__ is not None and isinstance(error.__cause__, CodeFailed):
        parts.append(str(error.__cause__))
    else:
        parts += [line.rstrip() for line in traceback.format_exception_only(error)]
    return "\n".join(part for part in parts if part)


def _sides(source: str, number: int, frame: types.FrameType) -> list[str]:
    """What stood left and right of the comparison that failed."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Assert) and node.lineno <= number <= (node.end_lineno or 0)):
            continue
        if isinstance(node.test, ast.Compare) and len(node.test.ops) == 1:
            with suppress(Exception):
                left = _value(node.test.left, frame)
                right = _value(node.test.comparators[0], frame)
                return [f"left side: {left}", f"right side: {right}"]
    return []


def _value(node: ast.expr, frame: types.FrameType) -> str:
    code = compile(ast.Expression(node), NAME, "eval")
    return repr(eval(code, frame.f_globals, frame.f_locals))[:300]


def _result(group: str, detail: str, count: int) -> dict[str, Any]:
    return {"group": group, "detail": detail[-_MAX_DETAIL:], "num_checks": count}
