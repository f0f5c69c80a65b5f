"""A training from the command line: prepared, shown, run and told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codehearth.cli.letting_go import let_go
from codehearth.cli.output import print_data, print_json, print_table, say, size
from codehearth.cli.shelf import store_of
from codehearth.cli.tune.evaluating import evaluation_of, percent, told
from codehearth.cli.tune.progress import shown
from codehearth.settings import Settings

if TYPE_CHECKING:
    from codehearth.lab.tuning.ordering import Order, Ready
    from codehearth.lab.tuning.tune import Result
    from codehearth.models.tuned import TunedModel


def train(settings: Settings, order: Order) -> Result:
    """Runs the training, told as it goes; raises as `lab.tuning.tune.run` does."""
    from codehearth.lab.tuning.tune import Listener, run
    from codehearth.models.tuned import FORMS

    ready = _ready(settings, order)
    _tell_plan(ready)
    evaluate = evaluation_of(settings, order, ready)

    def registered(model: TunedModel) -> None:
        if let_go(settings, model.name, forms=FORMS):
            say(f"The running server takes the new '{model.name}' from now on.")

    try:
        with shown() as event:
            result = run(
                ready.prepared,
                ready.base,
                ready.weights,
                ready.place,
                Listener(say, event, registered),
                evaluate=evaluate,
            )
    except KeyboardInterrupt:
        say("\nStopped. What was learnt is kept; the same command goes on from there.")
        raise
    if result.was_there:
        say(f"'{result.model.name}' is there already, from the same data, numbers and seed.")
    return result


def show_plan(settings: Settings, order: Order, *, as_json: bool) -> None:
    ready = _ready(settings, order)
    if as_json:
        print_json(ready.prepared.as_document())
    else:
        _tell_plan(ready)
    evaluation_of(settings, order, ready)


def print_result(result: Result) -> None:
    """What changed, and whether the forms of the model agree."""
    document = result.document
    loss, held = document["loss"], document["held_out"]
    before, after = held["before"], held["after"]
    rows = [
        ("loss of the training", _figure(loss["first"]), _figure(loss["last"])),
        (
            "loss on held-out rows",
            _figure(loss["held_out_before"]),
            _figure(loss["held_out_after"]),
        ),
    ]
    if before["total"]:
        what = f"answers with {held['expected']!r}" if held["expected"] else "answers as expected"
        rows.append((what, _share(before), _share(after)))
    evaluation = document.get("evaluation") or {}
    if "change" in evaluation:
        before, after = evaluation["before"], evaluation["after"]
        rows.append((f"{evaluation['figure']} of the suite", percent(before), percent(after)))
    print_table(("", "BEFORE", "AFTER"), rows)
    print_data("")
    parity = [
        (
            one["form"],
            f"{one['num_same_prompts']} of {one['num_probes']}",
            f"{one['num_same_answers']} of {one['num_probes']}"
            + (f", {one['num_near_ties']} near ties" if one["num_near_ties"] else ""),
            f"{one['largest_difference']:.4f} (bound {one['bound']:g})",
            "agrees" if one["agrees"] else one["problem"],
        )
        for one in document["parity"]
    ]
    headings = ("FORM", "SAME TOKENS", "SAME ANSWER", "LARGEST DIFFERENCE", "")
    print_table(headings, parity)
    for one in held["answers"][:2]:
        print_data(f"\n{one['question']}\n  before: {one['before']}\n  after:  {one['after']}")
    print_data("")
    for sentence in told(document):
        print_data(sentence)
    say(f"\n'{result.model.name}' version {result.model.version}: {result.folder}")


def _tell_plan(ready: Ready) -> None:
    prepared = ready.prepared
    found, machine = prepared.split, prepared.machine
    repeated = f", {found.num_repeated} of them repeated" if found.num_repeated else ""
    say(
        f"{prepared.asked.data_name}: {found.num_rows} rows"
        f"{repeated}, {found.num_groups} different questions"
    )
    for reason in ready.why:
        say(f"- {reason}")
    where = machine.device if machine.device == "cpu" else f"{machine.num_gpus} x {machine.device}"
    threads = f", threads: {machine.num_threads}" if machine.device == "cpu" else ""
    say(
        f"- {where}{threads}, {prepared.dtype}; about {size(prepared.memory.total_bytes)} of "
        f"{size(machine.free_bytes)} free memory"
    )


def _ready(settings: Settings, order: Order) -> Ready:
    from codehearth.gateway.choosing import environments_of
    from codehearth.lab.tuning.ordering import House, ready
    from codehearth.models.hardware import snapshot

    return ready(
        order, House(settings.data, store_of(settings), environments_of(settings), snapshot())
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(share: Mapping[str, Any]) -> str:
    interval = f"{100 * share['low']:.0f}-{100 * share['high']:.0f} %"
    return f"{share['count']} of {share['total']} ({interval})"
