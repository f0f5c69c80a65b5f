"""A training from the command line: prepared, shown, run and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codehearth.cli.output import print_data, print_json, print_table, say, size
from codehearth.cli.shelf import store_of
from codehearth.cli.tune.progress import shown
from codehearth.errors import InvalidRequest
from codehearth.settings import Settings

if TYPE_CHECKING:
    from codehearth.lab.tuning.examples import Example
    from codehearth.lab.tuning.preparing import Prepared
    from codehearth.lab.tuning.tune import Place, Result
    from codehearth.models.facts import Weights
    from codehearth.models.local_models import LocalModel

_NUMBERS = (
    "rank", "alpha", "dropout", "rslora", "max_tokens", "batch", "accumulation", "epochs",
    "learning_rate", "schedule", "warmup_steps", "weight_decay", "checkpointing", "packing",
    "save_steps",
)  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """Where the rows come from: a file or a repository."""

    data_file: Path | None
    repo: Path | None


@dataclass(frozen=True)
class Ready:
    """A job that can be started."""

    prepared: Prepared
    base: LocalModel
    weights: Weights
    place: Place


def train(settings: Settings, model: str, rows: Rows, options: Mapping[str, Any]) -> Result:
    """Runs the training, told as it goes; raises as `lab.tuning.tune.run` does."""
    from codehearth.lab.tuning.tune import Listener, run

    ready = _ready(settings, model, rows, options)
    _tell_plan(ready)
    try:
        with shown() as event:
            result = run(
                ready.prepared, ready.base, ready.weights, ready.place, Listener(say, event)
            )
    except KeyboardInterrupt:
        say("\nStopped. What was learnt is kept; the same command goes on from there.")
        raise
    if result.was_there:
        say(f"'{result.model.name}' is there already, from the same data, numbers and seed.")
    return result


def show_plan(
    settings: Settings, model: str, rows: Rows, options: Mapping[str, Any], *, as_json: bool
) -> None:
    ready = _ready(settings, model, rows, options)
    prepared = ready.prepared
    if not as_json:
        _tell_plan(ready)
        return
    print_json(
        {
            "name": prepared.asked.name,
            "base": prepared.asked.base,
            "num_training": len(prepared.split.training),
            "num_held_out": len(prepared.split.held_out),
            "num_different": prepared.split.num_groups,
            "num_repeated": prepared.split.num_repeated,
            "hyperparameters": prepared.hyperparameters.as_document(),
            "device": prepared.machine.device,
            "dtype": prepared.dtype,
            "memory": {**dict(prepared.memory.parts), "total": prepared.memory.total_bytes},
            "data_sha256": prepared.data_sha256,
            "job": prepared.id,
        }
    )


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
    say(f"\n'{result.model.name}' version {result.model.version}: {result.folder}")


def _tell_plan(ready: Ready) -> None:
    prepared = ready.prepared
    found, machine = prepared.split, prepared.machine
    repeated = f", {found.num_repeated} of them repeated" if found.num_repeated else ""
    say(
        f"{prepared.asked.data_name}: {len(found.training) + len(found.held_out)} rows"
        f"{repeated}, {found.num_groups} different questions"
    )
    for reason in prepared.why:
        say(f"- {reason}")
    where = machine.device if machine.device == "cpu" else f"{machine.num_gpus} x {machine.device}"
    threads = f", {machine.num_threads} threads" if machine.device == "cpu" else ""
    say(
        f"- {where}{threads}, {prepared.dtype}; about {size(prepared.memory.total_bytes)} of "
        f"{size(machine.free_bytes)} free memory"
    )


def _ready(settings: Settings, model: str, rows: Rows, options: Mapping[str, Any]) -> Ready:
    from codehearth.engines.threads import threads_for
    from codehearth.gateway.opening import environments_of
    from codehearth.lab.tuning import trainer
    from codehearth.lab.tuning.bases import checkpoint_of, gguf_of
    from codehearth.lab.tuning.jobs import Jobs
    from codehearth.lab.tuning.preparing import machine_of, prepare
    from codehearth.lab.tuning.tune import Place
    from codehearth.models.hardware import snapshot
    from codehearth.models.pull import free_bytes_at
    from codehearth.models.weights import read_weights

    data_name, examples, held_out = _examples(rows, options["seed"])
    store = store_of(settings)
    base = checkpoint_of(store, model)
    weights = read_weights(base.path)
    name = _name(options["name"], base, store)
    environment = trainer.installed(environments_of(settings))
    hardware = snapshot()
    machine = machine_of(
        hardware,
        tuple(environment.facts.get("devices") or ()),
        num_threads=settings.threads
        or threads_for(
            hardware.num_cores,
            hardware.num_physical_cores,
            num_parameters=weights.num_parameters,
        ),
        num_gpus=options["gpus"],
    )
    asked = _asked(name, base, data_name, examples, held_out, options)
    prepared = prepare(asked, weights, machine, fim=base.row.fim if base.row else None)
    jobs = Jobs(settings.data / "tune")
    place = Place(jobs, store.tuned, environment, gguf_of(store, base), free_bytes_at)
    return Ready(prepared, base, weights, place)


def _asked(
    name: str,
    base: LocalModel,
    data_name: str,
    examples: tuple[Example, ...],
    held_out: tuple[Example, ...] | None,
    options: Mapping[str, Any],
) -> Any:
    from codehearth.lab.tuning.preparing import Asked

    numbers = {number: options[number] for number in _NUMBERS}
    targets = options["targets"]
    if targets:
        numbers["targets"] = tuple(targets.replace(",", " ").split())
    return Asked(
        name=name,
        base=str(base.path) if base.source == "path" else base.name,
        data_name=data_name,
        examples=examples,
        held_out=held_out,
        system=options["system"],
        numbers=numbers,
        held_share=options["held_share"],
        patience=options["patience"],
        seed=options["seed"],
        quantise=options["quantise"],
        long_rows=options["long_rows"],
        expect=options["expect"],
        precision=options["precision"],
    )


def _examples(rows: Rows, seed: int) -> tuple[str, tuple[Example, ...], tuple[Example, ...] | None]:
    """The rows' name, what is learnt, and what is held out where the rows say so themselves."""
    from codehearth.lab.tuning.formats import read_data

    if rows.repo is not None:
        from codehearth.lab.tuning.repository import examples_of

        found = examples_of(rows.repo, seed=seed)
        for line in found.why:
            say(f"- {line}")
        return found.name, found.training, found.held_out
    assert rows.data_file is not None
    try:
        content = rows.data_file.read_bytes()
    except OSError as error:
        raise InvalidRequest(
            f"'{rows.data_file}' cannot be read ({error.strerror}).", param="data"
        ) from error
    return rows.data_file.name, read_data(content, rows.data_file.name).examples, None


def _name(asked: str | None, base: LocalModel, store: Any) -> str:
    from codehearth.lab.naming import base_of
    from codehearth.models.tuned import require_name

    name = require_name(asked or f"{base_of(base).rpartition('/')[2]}-tuned".replace(":", "-"))
    store.require_free_name(name)
    return name


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(share: Mapping[str, Any]) -> str:
    interval = f"{100 * share['low']:.0f}-{100 * share['high']:.0f} %"
    return f"{share['count']} of {share['total']} ({interval})"
