"""When a training is said to have helped."""

from __future__ import annotations

from typing import Any, cast

import pytest

from codehearth.lab.evaluation.asking import Sampling
from codehearth.lab.evaluation.estimator import Count, estimate
from codehearth.lab.evaluation.result import Evaluation, ModelScore, SuiteFacts, TaskScore
from codehearth.lab.evaluation.tasks import Suite, Task
from codehearth.lab.tuning.evaluating import (
    Trial,
    evaluation_document,
    is_wanted,
    judgement,
    trial,
)
from codehearth.lab.tuning.outcome import fall, gain, share
from codehearth.models.facts import Weights


@pytest.mark.parametrize(
    ("learnt", "suite", "judged"),
    [
        (None, None, "unknown"),
        ("better", None, "helped"),
        ("better", "noise", "helped"),
        ("better", "worse", "helped_at_a_price"),
        ("noise", "better", "helped"),
        ("same", "same", "no_difference"),
        ("noise", None, "no_difference"),
        (None, "noise", "no_difference"),
        ("same", "worse", "harmed"),
        ("worse", "better", "harmed"),
    ],
)
def test_a_training_helped_where_something_got_better_beyond_noise(
    learnt: str | None, suite: str | None, judged: str
) -> None:
    document: dict[str, Any] = {"held_out": {"change": {"verdict": learnt}} if learnt else {}}
    if suite:
        document["evaluation"] = {"change": {"verdict": suite}}

    assert judgement(document) == judged


@pytest.mark.parametrize(
    ("before", "after", "low", "high", "verdict"),
    [
        ((0, 4), (4, 4), 0.31, 1.0, "better"),
        ((0, 1), (1, 1), -0.12, 1.0, "noise"),  # one question proves nothing
        ((5, 24), (5, 24), -0.23, 0.23, "same"),
        ((20, 24), (4, 24), -0.81, -0.4, "worse"),
    ],
)
def test_a_share_grew_only_beyond_the_intervals_of_both(
    before: tuple[int, int], after: tuple[int, int], low: float, high: float, verdict: str
) -> None:
    found = gain(share(*before), share(*after))

    assert found is not None and found.verdict == verdict
    assert (round(found.interval.low, 2), round(found.interval.high, 2)) == (low, high)
    assert gain(share(0, 0), share(*after)) is None


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([4.0, 5.0, 6.0], [1.0, 1.5, 2.0], "better"),
        ([1.0, 1.5, 2.0], [4.0, 5.0, 6.0], "worse"),
        ([4.0, 5.0, 6.0], [1.0, 6.0, 6.1], "noise"),  # one row alone
        ([4.0, 5.0, 6.0], [4.0, 5.0, 6.0], "same"),
        ([4.0, 5.0], [1.0, 1.0], None),
    ],
)
def test_a_loss_fell_where_it_fell_row_by_row(
    before: list[float], after: list[float], verdict: str | None
) -> None:
    found = fall(before, after)

    assert (found and found.verdict) == verdict


def test_what_answers_do_not_show_the_loss_does() -> None:
    """Two of four right answers are no more than noise, a loss from 4.4 to 0.8 is not."""
    held_out = {"change": {"verdict": "noise"}, "loss_change": {"verdict": "better"}}

    assert judgement({"held_out": held_out}) == "helped"


@pytest.mark.parametrize(
    ("num_parameters", "template", "is_base", "mode", "num_answers"),
    [
        (5_000_000, "{{ x }}", False, "completion", 5),
        (7_000_000_000, "{{ x }}", False, "chat", 1),
        (7_000_000_000, "{{ x }}", True, "completion", 1),
        (7_000_000_000, None, False, "completion", 1),
    ],
)
def test_how_the_models_are_asked_fits_their_size(
    num_parameters: int, template: str | None, is_base: bool, mode: str, num_answers: int
) -> None:
    weights = cast(Weights, _Weights(num_parameters, template))

    found = trial("auto", "bubblewrap", weights, is_base=is_base)

    assert (found.mode, found.num_answers) == (mode, num_answers)
    assert {item.language for item in found.suite.items} == {"python"}
    assert len(found.suite.items) == 20


class _Weights:
    def __init__(self, num_parameters: int, chat_template: str | None) -> None:
        self.num_parameters = num_parameters
        self.chat_template = chat_template


def test_the_result_tells_the_change_with_its_interval_and_the_tasks_that_changed() -> None:
    tasks = tuple(f"t/{number}" for number in range(10))
    before, after = score("starter", tasks[:2]), score("me", tasks[1:9])

    found = evaluation_document(asked(), evaluation(before, after))

    assert found["before"]["value"] == 0.2 and found["after"]["value"] == 0.8
    assert found["change"]["value"] == pytest.approx(0.6)
    assert 0 < found["change"]["low"] < 0.6 < found["change"]["high"] <= 1
    assert found["change"]["verdict"] == "better"
    assert found["newly_failed"] == ["t/0"] and len(found["newly_passed"]) == 7


@pytest.mark.parametrize(
    ("evaluation", "wanted"),
    [
        (None, True),
        ({"suite": {"wish": "auto"}}, False),
        ({"suite": {"wish": "humaneval"}}, True),
        ({"left_out": "it was stopped"}, True),
    ],
)
def test_what_was_evaluated_is_not_evaluated_again(
    evaluation: dict[str, Any] | None, wanted: bool
) -> None:
    document = {} if evaluation is None else {"evaluation": evaluation}

    assert is_wanted("auto", document) == wanted


def asked() -> Trial:
    suite = Suite("s", "S", (Task("t/0", "python", ""),))
    return Trial("auto", suite, "completion", 1, Sampling(0.0, 1.0, 160, 0))


def score(model: str, passed: tuple[str, ...]) -> ModelScore:
    tasks = tuple(
        TaskScore(f"t/{number}", "python", 1, int(f"t/{number}" in passed), {})
        for number in range(10)
    )
    counts = [Count(1, one.num_passed) for one in tasks]
    return ModelScore(model, None, "completion", (estimate(counts, 1, seed=0),), tasks)


def evaluation(*scores: ModelScore) -> Evaluation:
    facts = SuiteFacts("s", "S", "0" * 64, 10, False, {})
    return Evaluation(
        "id", "2026-01-01", (), 1.0, {}, facts, asked().sampling, 1, "bubblewrap", 10.0, scores
    )
