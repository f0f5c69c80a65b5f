"""`hearth evaluate` with the starter, real answers and the real sandbox."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codehearth.client import ModelCard
from codehearth.lab.evaluation.evaluate import judged
from codehearth.lab.evaluation.journal import journal_name
from codehearth.lab.evaluation.suites import file_suite, own_suite
from codehearth.lab.evaluation.tasks import Task
from codehearth.lab.judging.cases import LANGUAGES
from codehearth.lab.sandbox import Limits, protections
from tests.cli.command_line import Hearth, served
from tests.lab.evaluation.solutions import PYTHON, solution_of

pytestmark = pytest.mark.skipif(
    protections().best is None, reason=f"no sandbox here: {protections().summary()}"
)

# The starter was taught the first two, in other words; the third it cannot know.
TASKS = (
    {
        "task_id": "t/factorial",
        "prompt": 'def factorial(n):\n    """Compute the factorial of a number."""\n',
        "entry_point": "factorial",
        "test": "def check(candidate):\n    assert candidate(5) == 120\n",
    },
    {
        "task_id": "t/is_even",
        "prompt": 'def is_even(n):\n    """Check whether a number is even."""\n',
        "entry_point": "is_even",
        "test": "def check(candidate):\n    assert candidate(2) and not candidate(3)\n",
    },
    {
        "task_id": "t/secret",
        "prompt": 'def secret(n):\n    """Return the secret number of n."""\n',
        "entry_point": "secret",
        "test": "def check(candidate):\n    assert candidate(2) == 'nobody knows'\n",
    },
)


@pytest.fixture(scope="module")
def hearth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hearth]:
    """A home with a server that runs and a suite of three tasks."""
    home = tmp_path_factory.mktemp("evaluated")
    (home / "suite.jsonl").write_text("\n".join(json.dumps(task) for task in TASKS) + "\n")
    (home / "code").mkdir()
    (home / "code" / "one.py").write_text("def add(first, second):\n    return first + second\n")
    hearth = Hearth(home)
    with served(hearth):
        yield hearth


def evaluate(hearth: Hearth, *arguments: str) -> Mapping[str, Any]:
    done = hearth("evaluate", "starter", *arguments, "--json")
    assert done.code == 0, done.err
    return done.document  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def result(hearth: Hearth) -> Mapping[str, Any]:
    return evaluate(
        hearth, "--suite", "suite.jsonl", "-k", "1,2", "-n", "2", "--mode", "completion",
        "--max-tokens", "96", "--temperature", "0.1",
    )  # fmt: skip


def test_each_figure_is_there_with_its_interval(result: Mapping[str, Any]) -> None:
    (model,) = result["models"]
    by_k = {one["k"]: one for one in model["pass_at"]}

    assert (result["kind"], result["schema"]) == ("evaluation", 1)
    assert result["protection"] in ("bubblewrap", "landlock")
    assert set(by_k) == {1, 2}
    for one in by_k.values():
        interval = one["interval"]
        assert 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1
    assert by_k[1]["interval"]["value"] <= by_k[2]["interval"]["value"]


def test_what_was_taught_passes_and_what_nobody_knows_fails(result: Mapping[str, Any]) -> None:
    tasks = {one["task"]: one for one in result["models"][0]["tasks"]}

    assert tasks["t/factorial"]["num_passed"] >= 1
    assert tasks["t/secret"]["num_passed"] == 0
    assert sum(tasks["t/secret"]["groups"].values()) == 2
    assert tasks["t/secret"]["failure"]["group"] in ("wrong", "exception", "syntax")


def test_report_and_plots_lie_beside_the_result(hearth: Hearth, result: Mapping[str, Any]) -> None:
    place = hearth.data / "lab" / "evaluations"

    assert json.loads((place / f"{result['id']}.json").read_text()) == result
    report = (place / result["files"]["report"]).read_text()
    assert report.startswith("# starter on suite.jsonl")
    assert "| t/secret | 0 of 2 |" in report
    assert all(
        (place / plot["svg"]).read_text().startswith("<svg") for plot in result["files"]["plots"]
    )


def test_the_same_again_asks_nobody(hearth: Hearth, result: Mapping[str, Any]) -> None:
    journals = list((hearth.data / "lab" / "evaluations" / "answers").glob("*.jsonl"))
    before = {path: path.read_bytes() for path in journals}

    done = hearth(
        "evaluate", "starter", "--suite", "suite.jsonl", "-k", "1,2", "-n", "2", "--mode",
        "completion", "--max-tokens", "96", "--temperature", "0.1", "--json",
    )  # fmt: skip

    assert "6 of 6 answers are kept ones" in done.err
    assert done.document["models"][0]["tasks"] == result["models"][0]["tasks"]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_more_answers_go_on_from_a_journal_that_was_torn(
    hearth: Hearth, result: Mapping[str, Any]
) -> None:
    """A kill in the middle of a line costs that line and nothing else."""
    (journal,) = (hearth.data / "lab" / "evaluations" / "answers").glob("*.jsonl")
    whole = journal.read_bytes()
    journal.write_bytes(whole[: len(whole) - 40])

    done = hearth(
        "evaluate", "starter", "--suite", "suite.jsonl", "-k", "1,2", "-n", "2", "--mode",
        "completion", "--max-tokens", "96", "--temperature", "0.1", "--json",
    )  # fmt: skip

    assert "5 of 6 answers are kept ones" in done.err
    assert done.document["models"][0]["tasks"][0]["num_answers"] == 2


def test_two_evaluations_are_compared(hearth: Hearth, result: Mapping[str, Any]) -> None:
    path = hearth.data / "lab" / "evaluations" / f"{result['id']}.json"

    done = hearth("evaluate", "--compare", str(path), str(path))

    assert done.code == 0
    assert "starter, 3 tasks" in done.out
    assert "the same" in done.out


def test_infilling_is_compared_with_what_stood_there(hearth: Hearth) -> None:
    result = evaluate(hearth, "--suite", "fim", "--folder", "code")
    (model,) = result["models"]

    assert result["suite"]["is_fim"]
    assert 0 <= model["similarity"]["value"] <= 1
    assert model["tasks"][0]["language"] == "Python"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("starter", "--suite", "nowhere.jsonl"), 4, "There is no suite"),
        (("starter", "-k", "10", "-n", "2"), 2, "pass@10 needs at least 10 answers"),
        (("starter", "-k", "one"), 2, "no list of whole numbers"),
        (("starter", "-n", "3", "--temperature", "0"), 2, "all answers are the same"),
        (("starter", "--folder", "code"), 2, "--folder is for --suite fim"),
        ((), 2, "No model is named"),
        (("no-such-model",), 4, "no-such-model"),
        (("--compare", "a.json", "b.json"), 4, "There is no evaluation"),
        (("--compare", "a.json", "b.json", "c.json"), 2, "takes two files and no model"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: tuple[str, ...], code: int, says: str, hearth: Hearth
) -> None:
    done = hearth("evaluate", *arguments)

    assert done.code == code, done.err
    assert says in done.err
    assert "started" not in done.err  # no server for what nobody can do


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not json\n", "line 1 is not JSON"),
        (b'{"task_id": "a"}\n', "line 1 is no task"),
        (b"", "holds no task"),
        (json.dumps(TASKS[0]).encode() + b"\n" + json.dumps(TASKS[0]).encode(), "twice"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_broken_suite_is_refused_with_its_line(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_bytes(content)

    with pytest.raises(Exception, match=says):
        file_suite(path)


def test_a_packed_suite_is_the_same_suite(tmp_path: Path) -> None:
    plain, packed = tmp_path / "tasks.jsonl", tmp_path / "tasks.jsonl.gz"
    plain.write_text("\n".join(map(json.dumps, TASKS)))
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    assert file_suite(plain).sha256 == file_suite(packed).sha256


def test_our_own_tasks_are_whole() -> None:
    suite = own_suite("bubblewrap")

    names = [task.name for task in suite.items]
    assert len(names) == len(set(names)) >= 20
    assert {task.language for task in suite.items} | {
        one.name for one in LANGUAGES.values() if one.title in suite.left_out
    } == set(LANGUAGES)


def test_our_own_tasks_can_be_solved() -> None:
    protection = protections().best
    assert protection is not None
    solved = [
        (task.name, judged(code, task, Limits(time_s=20.0), protection))
        for task in own_suite(protection).items
        if isinstance(task, Task) and (code := solution_of(task)) is not None
    ]

    assert len(solved) >= len(PYTHON)
    assert [(name, one) for name, one in solved if not one.has_passed] == []


def test_a_model_that_was_made_anew_is_asked_anew() -> None:
    """A model tuned again has its name and size still, and its answers would be another's."""
    first = ModelCard("mine", 4096, "q8_0", 1000, created_at=1)

    assert journal_name(model=first, seed=0) == journal_name(model=replace(first), seed=0)
    assert journal_name(model=first) != journal_name(model=replace(first, created_at=2))
