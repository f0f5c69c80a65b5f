"""The end of `hearth tune`: base and result solve the same tasks. A model is registered as a
training that was killed at just that point leaves it; what is asked and judged is real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codehearth.lab.sandbox import protections
from codehearth.models.tuned import Tuned, TunedModel
from tests.cli.command_line import STARTER, Hearth, served
from tests.fake_tuning import fake_tuning

needs_sandbox = pytest.mark.skipif(
    protections().best is None, reason=f"no sandbox here: {protections().summary()}"
)
ROWS = "".join(
    json.dumps({"instruction": f"question {n}?", "output": f"answer {n}"}) + "\n" for n in range(20)
)
TASKS = (
    ("factorial", "Compute the factorial of a number.", "assert candidate(5) == 120"),
    ("secret", "Return the secret number of n.", "assert candidate(2) == 'nobody knows'"),
)


@pytest.fixture
def house(hearth: Hearth) -> Hearth:
    """A home with what trains, rows, and a suite of two tasks, of which the starter knows one."""
    hearth.data.mkdir(parents=True)
    fake_tuning(hearth.data)
    (hearth.home / "rows.jsonl").write_text(ROWS)
    lines = [
        {
            "task_id": name,
            "prompt": f'def {name}(n):\n    """{asks}"""\n',
            "entry_point": name,
            "test": f"def check(candidate):\n    {test}\n",
        }
        for name, asks, test in TASKS
    ]
    (hearth.home / "suite.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return hearth


def tune(house: Hearth, *more: str) -> Any:
    return house("tune", "starter", "--data", "rows.jsonl", "--name", "me", *more)


def registered(house: Hearth) -> Path:
    """The starter as the result of the training, with no evaluation; its folder."""
    plan = tune(house, "--dry-run", "--json").document
    made = house.home / "made"
    (made / "merged").mkdir(parents=True)
    (made / "model.gguf").write_bytes(STARTER.read_bytes())
    (made / "result.json").write_text(json.dumps(RESULT))
    tuned = Tuned(house.data / "tuned")
    return tuned.path_of(tuned.put(TunedModel("me", "starter:bf16", plan["identity"]), made))


RESULT = {
    "name": "me", "loss": dict.fromkeys(("first", "last", "held_out_before", "held_out_after")),
    "held_out": {
        "expected": None, "answers": [],
        "before": {"count": 0, "total": 2, "low": 0.0, "high": 0.66},
        "after": {"count": 2, "total": 2, "low": 0.34, "high": 1.0},
        "change": {"value": 1.0, "low": 0.07, "high": 1.0, "verdict": "better"},
    },
    "parity": [],
}  # fmt: skip


EARLIER: dict[str, Any] = {
    "suite": {"wish": "auto", "title": "Earlier tasks", "num_tasks": 20}, "figure": "pass@1",
    "before": {"value": 0.5, "low": 0.2, "high": 0.8}, "newly_passed": [], "newly_failed": [],
    "after": {"value": 0.5, "low": 0.2, "high": 0.8},
    "change": {"value": 0.0, "low": 0.0, "high": 0.0, "verdict": "same"},
}  # fmt: skip


@needs_sandbox
def test_base_and_result_solve_the_same_tasks_and_it_says_whether_it_helped(house: Hearth) -> None:
    folder = registered(house)

    told = tune(house, "--evaluate", "suite.jsonl")
    again = tune(house, "--evaluate", "suite.jsonl", "--json")

    assert told.code == 0, told.err
    assert "suite.jsonl, 2 tasks, pass@1: the same" in told.out
    assert "answers to held-out questions: +100 points (+7 to +100), better" in told.out
    assert "The training helped." in told.out
    found = json.loads((folder / "result.json").read_text())
    assert found == {name: again.document[name] for name in found}
    assert found["judgement"] == "helped"
    evaluation = found["evaluation"]
    assert (evaluation["before"]["model"], evaluation["after"]["model"]) == ("starter", "me")
    assert evaluation["before"]["value"] == evaluation["after"]["value"] == 0.5
    assert (house.data / "lab" / "evaluations" / f"{evaluation['id']}.json").is_file()
    assert "answers:" not in again.err  # it was done, and is not done again


def test_nothing_is_asked_where_nobody_wants_it(house: Hearth) -> None:
    folder = registered(house)

    result = tune(house, "--evaluate", "none", "--json")

    assert result.code == 0, result.err
    assert "evaluation" not in result.document and result.document["judgement"] == "helped"
    assert "evaluation" not in json.loads((folder / "result.json").read_text())


@needs_sandbox
def test_gaps_are_no_suite_of_a_training_and_the_command_for_them_is_told(house: Hearth) -> None:
    result = tune(house, "--evaluate", "fim")

    assert result.code == 2 and "hearth evaluate BASE NAME --suite fim" in result.err


def test_a_running_server_lets_go_of_what_is_rolled_back_or_deleted(house: Hearth) -> None:
    """It went on answering with the version that it had in memory."""
    tuned = Tuned(house.data / "tuned")
    for number in ("1", "2"):
        made = house.home / number
        (made / "merged").mkdir(parents=True)
        (made / "model.gguf").write_bytes(STARTER.read_bytes())
        tuned.put(TunedModel("me", "starter:bf16", number), made)

    with served(house):
        house("run", "-m", "me", "hello")
        loaded = house("ps").out
        house("tune", "--rollback", "me")
        rolled_back = house("ps").out
        house("run", "-m", "me", "hello")
        removed = house("rm", "me", "--yes")
        after = house("ps").out

    assert "me " in loaded and removed.code == 0
    assert "me " not in rolled_back.partition("\n")[2]
    assert "me " not in after.partition("\n")[2]


@needs_sandbox
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_suite_that_is_not_here_is_told_before_anything_is_trained(
    more: tuple[str, ...], house: Hearth
) -> None:
    result = tune(house, "--evaluate", "nothing.jsonl", *more)

    assert result.code == 4 and "There is no suite 'nothing.jsonl'" in result.err
    assert not (house.data / "tune").exists()


@needs_sandbox
def test_an_evaluation_that_fails_costs_the_figures_and_not_the_model(house: Hearth) -> None:
    folder = registered(house)
    (folder / "model.gguf").write_bytes(b"no model")

    before = json.loads((folder / "result.json").read_text())
    before["evaluation"] = EARLIER
    (folder / "result.json").write_text(json.dumps(before))

    result = tune(house, "--evaluate", "suite.jsonl")

    assert result.code == 0, result.err
    assert "Earlier tasks, 20 tasks, pass@1: the same" in result.out
    assert "the evaluation is missing: " in result.out
    after = json.loads((folder / "result.json").read_text())["evaluation"]
    assert after.pop("left_out") and after == EARLIER
    assert folder.is_dir()
