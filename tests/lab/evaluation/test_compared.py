"""Two evaluations side by side: what changed, and whether it may be chance."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codehearth.errors import InvalidRequest
from codehearth.lab.evaluation.asking import Sampling
from codehearth.lab.evaluation.comparison import compared
from codehearth.lab.evaluation.estimator import Count, estimate
from codehearth.lab.evaluation.report import figures, markdown, methods
from codehearth.lab.evaluation.result import (
    Evaluation,
    Failure,
    ModelScore,
    SuiteFacts,
    TaskScore,
)


def score(model: str, passed: list[int], *, num_answers: int = 4) -> ModelScore:
    tasks = tuple(
        TaskScore(
            task=f"task/{number}",
            language="python",
            num_answers=num_answers,
            num_passed=count,
            groups={"passed": count, "wrong": num_answers - count},
            failure=Failure("wrong", "f(1) gave 2 | expected `3`") if count < num_answers else None,
        )
        for number, count in enumerate(passed)
    )
    counts = [Count(num_answers, count) for count in passed]
    pass_at = tuple(estimate(counts, k, seed=0) for k in (1, 4))
    return ModelScore(model, "q8_0", "chat", pass_at, tasks)


def evaluation(*models: ModelScore) -> Evaluation:
    return Evaluation(
        id="20261126-000000-x",
        created_at="2026-11-26T00:00:00+00:00",
        command=("hearth", "evaluate"),
        duration_s=1.0,
        versions={},
        suite=SuiteFacts("tasks", "own tasks", "0" * 64, 20, False, {"C": "cc is not installed"}),
        sampling=Sampling(0.8, 0.95, 512, 0),
        num_answers=4,
        protection="bubblewrap",
        time_limit_s=10.0,
        models=models,
    )


def test_a_real_change_is_told_from_chance() -> None:
    before = evaluation(score("m", [0] * 10 + [2] * 10))
    better = evaluation(score("m", [2] * 10 + [4] * 10))
    nearly = evaluation(score("m", [0] * 9 + [1] + [2] * 10))

    (pair,) = compared(before, better).pairs
    assert [one.difference.verdict for one in pair.changes] == ["better", "better"]
    assert pair.newly_passed == tuple(f"task/{number}" for number in range(10))
    (pair,) = compared(before, nearly).pairs
    assert [one.difference.verdict for one in pair.changes] == ["noise", "noise"]


def test_one_model_each_is_compared_whatever_they_are_called() -> None:
    lines = list(
        compared(evaluation(score("old", [0] * 8)), evaluation(score("new", [4] * 8))).lines()
    )

    assert "old -> new, 8 tasks" in lines
    assert any("pass@1: 0.0 % -> 100.0 %, better" in line for line in lines)


def test_what_else_differs_is_said_first() -> None:
    first = evaluation(score("m", [1, 2]))
    second = replace(first, sampling=Sampling(0.2, 0.95, 512, 0), protection="landlock")

    told = compared(first, second).differences

    assert told == ("temperature: 0.8 -> 0.2", "sandbox: bubblewrap -> landlock")


def test_nothing_in_common_is_an_error() -> None:
    first = evaluation(score("a", [1]), score("b", [1]))
    second = evaluation(score("c", [1]))

    with pytest.raises(InvalidRequest, match="no model and task in common"):
        compared(first, second)


def test_the_report_names_what_was_left_out_and_breaks_no_table() -> None:
    text = markdown(evaluation(score("m", [0, 4, 1])))

    assert "Left out: C (cc is not installed)." in text
    rows = [line for line in text.splitlines() if line.startswith("| task/")]
    assert len(rows) == 2
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)


def test_the_report_says_how_the_interval_of_each_language_was_made() -> None:
    python = score("m", [0, 4, 1])
    java_script = replace(python.tasks[0], task="js/0", language="javascript")
    text = markdown(evaluation(replace(python, tasks=(*python.tasks, java_script))))

    assert "| pass@1 by language | python | javascript |" in text
    assert "by a bootstrap over tasks" in text
    assert "Wilson's over tasks" in text  # of the one task in JavaScript


def test_figures_of_gaps_have_names_of_their_own() -> None:
    gaps = score("m", [0, 0])
    interval = gaps.pass_at[0].interval
    filled = tuple(replace(task, similarity=0.5) for task in gaps.tasks)
    found = evaluation(replace(gaps, tasks=filled, similarity=interval))
    result = replace(found, suite=replace(found.suite, is_fim=True))

    figures_told = [change.figure for change in compared(result, result).pairs[0].changes]
    assert figures_told == ["exact match", "exact match@4", "edit similarity"]
    assert "| exact match | exact match@4 | edit similarity |" in markdown(result)
    assert methods(result) == {"bootstrap", "wilson"}


def test_every_model_is_in_the_plots() -> None:
    by_k, endings = figures(evaluation(score("a", [0, 4]), score("b", [4, 4])))

    assert [series.name for series in by_k.series] == ["a", "b"]
    assert endings.x.names == ("passed", "wrong")
