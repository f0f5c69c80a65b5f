"""The evaluation that ends a tuning: which one, its server, and how it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from codehearth.cli.output import say
from codehearth.settings import Settings

if TYPE_CHECKING:
    from codehearth.lab.tuning.evaluating import Judgement, Trial
    from codehearth.lab.tuning.ordering import Order, Ready
    from codehearth.lab.tuning.tune import Evaluate

Event = Callable[[Mapping[str, Any]], None]

_JUDGEMENTS: Mapping[Judgement, str] = {
    "helped": "The training helped.",
    "helped_at_a_price": "The training helped, at a price: what is beyond the rows got worse.",
    "harmed": "The training harmed the model.",
    "no_difference": "No difference beyond noise was found.",
    "unknown": "Whether it helped was not measured: no rows are held out, and no suite was asked.",
}


def evaluation_of(settings: Settings, order: Order, ready: Ready) -> Evaluate | None:
    """What is asked before and after, None for nothing; told before anything is trained.

    Raises NotFound, InvalidRequest and Unsupported for a suite that was named and cannot be had.
    """
    from codehearth.lab.sandbox import protections, require_protection
    from codehearth.lab.tuning.evaluating import AUTO, NONE, trial
    from codehearth.lab.tuning.tune import Evaluate

    if order.evaluate == NONE:
        return None
    found = protections()
    if order.evaluate == AUTO and found.best is None:
        say(f"- the models are not evaluated: there is no sandbox ({found.summary()})")
        return None
    row = ready.base.row
    asked = trial(
        order.evaluate,
        require_protection(),
        ready.weights,
        is_base=row is not None and row.kind == "completion",
    )
    say(
        f"- evaluated before and after: {asked.suite.title}, {len(asked.suite.items)} tasks, "
        f"{asked.num_answers} answers to each ({asked.mode})"
    )
    return Evaluate(order.evaluate, partial(_asked, settings, asked))


def _asked(settings: Settings, asked: Trial, base: str, model: str, event: Event) -> dict[str, Any]:
    """Both models on the server of this machine, or on one for this command."""
    from codehearth.cli.reach import client_of, found_or_started, server_of
    from codehearth.lab.evaluation.asking import Subject
    from codehearth.lab.evaluation.evaluate import Listener, Options, evaluate
    from codehearth.lab.evaluation.report import FOLDER, keep
    from codehearth.lab.sandbox import require_protection
    from codehearth.lab.tuning.evaluating import evaluation_document

    options = Options(
        require_protection(),
        num_answers=asked.num_answers,
        sampling=asked.sampling,
        command=("hearth", "tune"),
    )
    folder = settings.data / "lab" / FOLDER
    server = server_of(settings.data)
    listener = Listener(say, lambda what, share: event({"answers": what, "share": share}))
    with found_or_started(settings, server, model=base) as at, client_of(at) as client:
        named = base if server is not None else client.default_model() or base
        subjects = [Subject(name, asked.mode) for name in (named, model)]
        result = keep(evaluate(client, subjects, asked.suite, options, folder, listener), folder)
    return evaluation_document(asked, result)


def told(document: Mapping[str, Any]) -> Iterator[str]:
    """Whether it helped, in sentences with their intervals."""
    held = document["held_out"]
    if "loss_change" in held:
        yield f"loss on held-out rows: {_nats(held['loss_change'])}"
    if "change" in held:
        yield f"answers to held-out questions: {_change(held['change'])}"
    evaluation = document.get("evaluation") or {}
    if "left_out" in evaluation:
        yield f"the evaluation is missing: {evaluation['left_out']}"
    if "suite" in evaluation:
        suite = evaluation["suite"]
        yield (
            f"{suite['title']}, {suite['num_tasks']} tasks, {evaluation['figure']}: "
            f"{_change(evaluation['change'])}"
        )
        for what, tasks in (
            ("now passed", evaluation["newly_passed"]),
            ("now failed", evaluation["newly_failed"]),
        ):
            if tasks:
                yield f"  {what}: {', '.join(tasks)}"
    yield _JUDGEMENTS[document["judgement"]]


def _change(change: Mapping[str, Any]) -> str:
    """`+100 points (31 to 100), better`."""
    if change["verdict"] == "same":
        return "the same"
    words = {"noise": "no more than noise"}.get(change["verdict"], change["verdict"])
    span = f"{100 * change['low']:+.0f} to {100 * change['high']:+.0f}"
    return f"{100 * change['value']:+.0f} points ({span}), {words}"


def _nats(change: Mapping[str, Any]) -> str:
    """`-3.6 nats (-4.1 to -3.1), better`."""
    words = {"noise": "no more than noise"}.get(change["verdict"], change["verdict"])
    low, high = sorted((change["low"], change["high"]))
    return f"{change['value']:+.2f} nats ({low:+.2f} to {high:+.2f}), {words}"


def percent(side: Mapping[str, Any]) -> str:
    low, high = 100 * side["low"], 100 * side["high"]
    return f"{100 * side['value']:.0f} % ({low:.0f}-{high:.0f} %)"
