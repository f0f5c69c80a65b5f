"""What is asked of a model that must pass tests."""

from __future__ import annotations

import pytest

from codehearth.errors import InvalidRequest
from codehearth.lab.judging.verdict import Group, Verdict
from codehearth.lab.verifying import check_tests, code_of, questions, to_repair, wanted_name


@pytest.mark.parametrize(
    ("tests", "name"),
    [
        ("assert add(1, 2) == 3", "add"),
        ("assert len(split('a b')) == 2", "split"),
        ("import math\nassert math.isclose(area(1), math.pi)", "area"),
        ("from solution import Stack\ns = Stack()\nassert not s", "Stack"),
        ("def test_x():\n    values = [1]\n    assert total(values) == 1", "total"),
        (">>> add(1, 2)\n3", "add"),
        ('"""\n>>> add(1, 2)\n3\n"""', "add"),
        ("from solution import *\nassert add(1, 2) == 3", "add"),
        ("import solution\nassert solution.add(1, 2) == 3", "add"),
        ("assert 1 == 1", None),
    ],
)
def test_the_wanted_name_is_found(tests: str, name: str | None) -> None:
    assert wanted_name(tests) == name


@pytest.mark.parametrize(
    "tests",
    [
        "assert add(1, 2) == 3",
        ">>> add(1, 2)\n3",
        "def test_add():\n    assert add(1, 2) == 3",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n"
        "        self.assertEqual(add(1, 2), 3)",
        "if add(1, 2) != 3:\n    raise ValueError",
        "class TestAdd:\n    def test(self):\n        assert add(1, 2) == 3",
        '"""\n>>> add(1, 2)\n3\n"""\n',
        "def check(candidate):\n    assert candidate(1, 2) == 3\ncheck(add)",
    ],
)
def test_tests_that_check_something_are_taken(tests: str) -> None:
    check_tests(tests)


@pytest.mark.parametrize(
    "tests",
    [
        "",
        "add(1, 2)",
        "x = 1",
        "print(add(1, 2) == 3)",
        "assert (",
        "def check(candidate):\n    assert candidate(1, 2) == 3",  # which nobody calls
        "example = '>>> add(1, 2)'",  # a text that nobody runs
    ],
)
def test_tests_that_check_nothing_are_refused(tests: str) -> None:
    with pytest.raises(InvalidRequest):
        check_tests(tests)


def test_the_block_that_the_tests_call_is_the_code() -> None:
    answer = "```python\nprint(add(1, 2))\n```\n```python\ndef add(a, b):\n    return a + b\n```"

    assert code_of(answer, "assert add(1, 2) == 3") == "def add(a, b):\n    return a + b\n"


def test_every_other_candidate_does_not_see_the_tests() -> None:
    asked = questions("Write add.", "assert add(1, 2) == 3", num_candidates=4, temperature=None)

    assert ["assert" in content for content, _ in asked] == [True, False, True, False]
    assert [temperature for _, temperature in asked] == [0.0, 0.0, 0.7, 0.7]


def test_the_nearest_are_repaired_first_and_each_code_once() -> None:
    groups: tuple[Group, ...] = ("syntax", "wrong", "exception", "wrong", "empty")
    codes = ("a", "b", "c", "b\n", "")
    failed = [(code, Verdict(group)) for code, group in zip(codes, groups, strict=True)]

    assert to_repair(failed, 3) == [1, 2, 0]
