"""`hearth run --verify`: the starter's code, held to tests in the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from codehearth.lab.sandbox import protections
from tests.cli.command_line import Hearth, served

pytestmark = pytest.mark.skipif(
    protections().best is None, reason=f"no sandbox here: {protections().summary()}"
)


@pytest.fixture(scope="module")
def hearth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hearth]:
    home: Path = tmp_path_factory.mktemp("verified")
    (home / "right.py").write_text("assert factorial(5) == 120\nassert factorial(0) == 1\n")
    (home / "doc.txt").write_text(">>> factorial(4)\n24\n")
    (home / "never.py").write_text("assert factorial(5) == 'nobody knows'\n")
    (home / "empty.py").write_text("factorial(5)\n")
    hearth = Hearth(home)
    with served(hearth):
        yield hearth


PROMPT = "Write a function that computes the factorial of a number."


@pytest.mark.parametrize("tests", ["right.py", "doc.txt"])
def test_the_code_that_passes_is_all_of_the_output(hearth: Hearth, tests: str) -> None:
    done = hearth("run", "--verify", tests, "-m", "starter", PROMPT, "--candidates", "2")

    assert done.code == 0, done.err
    names: dict[str, object] = {}
    exec(done.out, names)  # noqa: S102 - it is code and nothing else
    assert "factorial" in names
    assert "passed" in done.err
    assert "sandbox: " in done.err


def test_without_a_pass_there_is_no_code_and_exit_code_1(hearth: Hearth) -> None:
    done = hearth(
        "run", "--verify", "never.py", "-m", "starter", PROMPT, "--candidates", "1",
        "--repairs", "1",
    )  # fmt: skip

    assert (done.code, done.out) == (1, "")
    assert "attempt 1: " in done.err
    assert "attempt 2 (repairs 1): " in done.err
    assert "None of 2 attempts passed" in done.err


def test_json_has_every_attempt(hearth: Hearth) -> None:
    done = hearth("run", "--verify", "right.py", "-m", "starter", PROMPT, "--json")

    (found,) = done.documents
    assert found["verified"] is True
    assert any(one["passed"] for one in found["attempts"])


def test_tests_that_check_nothing_are_refused(hearth: Hearth) -> None:
    done = hearth("run", "--verify", "empty.py", "-m", "starter", PROMPT)

    assert done.code == 2
    assert "check nothing" in done.err
