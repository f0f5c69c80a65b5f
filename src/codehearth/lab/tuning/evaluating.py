"""Whether a training helped: what is asked before and after, and what the answers say; pure.

The held-out rows say whether the model learnt what it was taught (`outcome`), a suite says whether
it still writes code as well as its base. Only what is beyond noise counts.

Small models go on from a function's head, a few times each with little chance: they answer too few
questions in chat to lose any. Larger ones that chat are asked in chat, where training shows first,
once and without chance: the same tasks cost them much more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from codehearth.errors import InvalidRequest
from codehearth.lab.evaluation.asking import Sampling
from codehearth.lab.evaluation.comparison import compare_scores
from codehearth.lab.evaluation.result import Evaluation, ModelScore
from codehearth.lab.evaluation.suites import named_suite, own_python_suite
from codehearth.lab.evaluation.tasks import Mode, Suite
from codehearth.lab.sandbox import Protection
from codehearth.lab.tuning.recipe import SMALL_PARAMETERS
from codehearth.models.facts import Weights

AUTO = "auto"
NONE = "none"
_NUM_SMALL_ANSWERS = 5
_SMALL = Sampling(temperature=0.2, top_p=0.95, max_tokens=160, seed=0)
_LARGE = Sampling(temperature=0.0, top_p=1.0, max_tokens=512, seed=0)

Judgement = Literal["helped", "helped_at_a_price", "harmed", "no_difference", "unknown"]


@dataclass(frozen=True)
class Trial:
    """A suite and how both models are asked. `wish` is the suite as it was asked for."""

    wish: str
    suite: Suite
    mode: Mode
    num_answers: int
    sampling: Sampling


def suite_of(wish: str, protection: Protection) -> Suite:
    """Raises NotFound and InvalidRequest for a suite that is not here."""
    if wish == "fim":
        raise InvalidRequest(
            "A training is not evaluated by filling gaps: it may have learnt what fills them.",
            hint="afterwards, on other code: `hearth evaluate BASE NAME --suite fim --folder PATH`",
        )
    return own_python_suite(protection) if wish == AUTO else named_suite(wish, protection)


def trial(wish: str, protection: Protection, weights: Weights, *, is_base: bool) -> Trial:
    """What fits the model's size; `is_base`: the catalogue knows it as one that does not chat.

    Raises as `suite_of` does.
    """
    suite = suite_of(wish, protection)
    if weights.num_parameters < SMALL_PARAMETERS:
        return Trial(wish, suite, "completion", _NUM_SMALL_ANSWERS, _SMALL)
    mode: Mode = "completion" if is_base or not weights.chat_template else "chat"
    return Trial(wish, suite, mode, 1, _LARGE)


def evaluation_document(asked: Trial, result: Evaluation) -> dict[str, Any]:
    """What stands in a tuning's result of an evaluation of the base and of the tuned model."""
    before, after = result.models
    pair = compare_scores(before, after, seed=asked.sampling.seed)
    assert pair is not None
    change = pair.changes[0]
    return {
        "id": result.id,
        "suite": {
            "wish": asked.wish,
            "title": asked.suite.title,
            "num_tasks": pair.num_tasks,
            "sha256": result.suite.sha256,
        },
        "mode": asked.mode,
        "num_answers": asked.num_answers,
        "sampling": asdict(asked.sampling),
        "protection": result.protection,
        "figure": change.figure,
        "before": _side(before),
        "after": _side(after),
        "change": asdict(change.difference.interval) | {"verdict": change.difference.verdict},
        "newly_passed": list(pair.newly_passed),
        "newly_failed": list(pair.newly_failed),
        "seconds": result.duration_s,
    }


def _side(score: ModelScore) -> dict[str, Any]:
    found = score.at(1)
    assert found is not None
    return {"model": score.model, **asdict(found.interval), "groups": score.groups}


def is_wanted(wish: str, document: Mapping[str, Any]) -> bool:
    """Whether a result lacks the evaluation that is asked for; a stopped one is begun again."""
    found = document.get("evaluation") or {}
    return "left_out" in found or found.get("suite", {}).get("wish") != wish


def judgement(document: Mapping[str, Any]) -> Judgement:
    """Whether the training helped, from the changes of held-out answers and of the suite.

    1. Nothing was measured: unknown.
    2. The rows were learnt, by their answers or, where those do not show it, by their loss:
       helped, at a price where the suite got worse.
    3. They were not, or there were none: what the suite says.
    """
    learnt = _learnt(document["held_out"])
    suite = (document.get("evaluation") or {}).get("change", {}).get("verdict")
    if learnt is None and suite is None:
        return "unknown"
    if learnt == "better":
        return "helped_at_a_price" if suite == "worse" else "helped"
    if "worse" in (learnt, suite):
        return "harmed"
    return "helped" if suite == "better" else "no_difference"


def _learnt(held_out: Mapping[str, Any]) -> str | None:
    found = [held_out.get(name, {}).get("verdict") for name in ("change", "loss_change")]
    sure = [verdict for verdict in found if verdict in ("better", "worse")]
    told = [verdict for verdict in found if verdict is not None]
    return next(iter(sure or told), None)
