"""A model is tuned, checked and registered.

1. The job is written (`preparing`, `jobs`); one that is there already goes on where it was.
2. The trainer trains an adapter, merges it and writes down what both answer (`training`).
3. The merged checkpoint becomes a GGUF, the adapter one for hot loading (`quantize`, `adapter`).
4. All forms are asked the same (`asking`, `parity`). One that answers otherwise stops the job.
5. Curve and result are drawn up, and the folder is registered in one step (`models.tuned`).
6. Base and result are asked the same tasks (`evaluating`). What goes wrong there costs the figures
   and not the model.

Until the fifth nothing can be asked for by name; after a kill the same command goes on.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codehearth.engines.installed import Installed
from codehearth.errors import DiskFull, HearthError
from codehearth.lab import drawing
from codehearth.lab.tuning.curves import loss_figure
from codehearth.lab.tuning.evaluating import is_wanted, judgement
from codehearth.lab.tuning.forms import compared_forms, converted, require_parity
from codehearth.lab.tuning.jobs import Job, Jobs
from codehearth.lab.tuning.outcome import outcome
from codehearth.lab.tuning.preparing import Prepared
from codehearth.lab.tuning.probes import NUM_PROBE_TOKENS
from codehearth.lab.tuning.training import train, written
from codehearth.models.facts import Weights
from codehearth.models.local_models import LocalModel
from codehearth.models.tuned import TEMPLATE, Tuned, TunedModel
from codehearth.models.whole_file import write_whole
from codehearth.models.words import in_bytes

Event = Callable[[Mapping[str, Any]], None]

_SPARE_BYTES = 256 << 20


@dataclass(frozen=True)
class Place:
    """Where things are: the jobs, the tuned models, the trainer, and a GGUF of the base if any."""

    jobs: Jobs
    tuned: Tuned
    environment: Installed
    base_gguf: LocalModel | None
    free_bytes: Callable[[Path], int]


@dataclass(frozen=True)
class Evaluate:
    """The seam to `hearth evaluate`: `run` is called with the names of the base and of the result,
    and gives a document (`evaluating.evaluation_document`). `wish` is the suite."""

    wish: str
    run: Callable[[str, str, Event], Mapping[str, Any]]


@dataclass(frozen=True)
class Listener:
    """`say` gets sentences, `event` what the trainer tells, `registered` the model once its name
    means it."""

    say: Callable[[str], None]
    event: Event
    registered: Callable[[TunedModel], None] = lambda _: None


@dataclass(frozen=True)
class Result:
    """A registered model and the document of its result."""

    model: TunedModel
    folder: Path
    document: Mapping[str, Any]
    was_there: bool = False


def run(
    prepared: Prepared,
    base: LocalModel,
    weights: Weights,
    place: Place,
    listener: Listener,
    *,
    evaluate: Evaluate | None = None,
) -> Result:
    """The tuned model, registered. Raises what data, trainer, converter and comparison raise."""
    job = Job(place.jobs.folder / prepared.id)
    with job.alone():
        present = _registered(prepared, place.tuned)
        if present is not None:
            return _evaluated(job, present, prepared, place, listener, evaluate)
        try:
            trained = _run(job, prepared, base, weights, place, listener)
            return _evaluated(job, trained, prepared, place, listener, evaluate)
        except KeyboardInterrupt:
            job.enter("stopped")
            raise
        except HearthError as error:
            job.enter("failed", problem=error.message, hint=error.hint or "")
            raise


def _run(
    job: Job,
    prepared: Prepared,
    base: LocalModel,
    weights: Weights,
    place: Place,
    listener: Listener,
) -> Result:
    started = time.monotonic()
    _require_room(weights, place, job.folder)
    specification = written(job, prepared, base, weights)
    train(job, prepared, place.environment, listener.event)
    job.enter("converting")
    listener.event({"stage": "converting"})
    record = converted(
        _record(prepared, base),
        job.training,
        base,
        num_threads=prepared.machine.num_threads,
        free_bytes=place.free_bytes,
        say=listener.say,
    )
    job.enter("comparing")
    listener.event({"stage": "comparing"})
    probes = json.loads((job.training / "probes.json").read_text(encoding="utf-8"))
    compared = compared_forms(
        record,
        job.training,
        probes,
        specification["probes"],
        base_gguf=place.base_gguf,
        num_threads=prepared.machine.num_threads,
        num_new=NUM_PROBE_TOKENS,
    )
    require_parity(compared)
    document = outcome(
        prepared,
        probes,
        job.events(),
        [one.as_document() for one in compared],
        versions=place.environment.facts.get("versions", {}),
        seconds=time.monotonic() - started,
    )
    _finish(job, prepared, document, specification["chat_template"])
    model = place.tuned.put(record, job.training)
    listener.registered(model)
    return Result(model, place.tuned.path_of(model), document)


def _evaluated(
    job: Job,
    result: Result,
    prepared: Prepared,
    place: Place,
    listener: Listener,
    evaluate: Evaluate | None,
) -> Result:
    """The result with the evaluation that it lacks. It is registered: Ctrl-C ends only this."""
    model, document = result.model, dict(result.document)
    if evaluate is not None and is_wanted(evaluate.wish, document):
        job.enter("evaluating", model=model.name, version=model.version)
        listener.event({"stage": "evaluating"})
        base = place.base_gguf.name if place.base_gguf is not None else prepared.asked.base
        try:
            document["evaluation"] = dict(evaluate.run(base, model.name, listener.event))
        except HearthError as error:
            document["evaluation"] = _left_out(document, error.message)
        except KeyboardInterrupt:
            why = "it was stopped; the same command goes on"
            document["evaluation"] = _left_out(document, why)
    document["judgement"] = judgement(document)
    if document != result.document:
        _write_result(result.folder, document)
    job.enter("done", model=model.name, version=model.version)
    return replace(result, document=document)


def _left_out(document: Mapping[str, Any], why: str) -> dict[str, Any]:
    """The evaluation that is missing; one by another suite stays, and is told beside it."""
    found = document.get("evaluation") or {}
    kept = {name: value for name, value in found.items() if name != "left_out"}
    return {**kept, "left_out": why}


def _registered(prepared: Prepared, tuned: Tuned) -> Result | None:
    """The result of the same job, if it was registered before; its name means it again."""
    for model in tuned.versions(prepared.asked.name):
        if model.identity == prepared.identity:
            tuned.use(model)
            folder = tuned.path_of(model)
            document = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            return Result(model, folder, document, was_there=True)
    return None


def _require_room(weights: Weights, place: Place, folder: Path) -> None:
    """The merged checkpoint and its GGUF are as large as the base each."""
    needed = 2 * weights.num_parameters * 2 + _SPARE_BYTES
    folder.mkdir(parents=True, exist_ok=True)
    free = place.free_bytes(folder)
    if needed > free:
        raise DiskFull(
            f"About {in_bytes(needed)} are to be written, {in_bytes(free)} are free.",
            hint="free some space, or set HEARTH_DATA to a folder on a larger disk",
        )


def _record(prepared: Prepared, base: LocalModel) -> TunedModel:
    asked = prepared.asked
    return TunedModel(
        name=asked.name,
        base=asked.base,
        identity=prepared.identity,
        precision=asked.precision,
        row=base.row.name if base.row else None,
        data_sha256=prepared.data_sha256,
        seed=asked.seed,
    )


def _finish(
    job: Job, prepared: Prepared, document: Mapping[str, Any], template: str | None
) -> None:
    """Draws the curve and leaves nothing but the model in its folder."""
    _write_result(job.training, document)
    figure = loss_figure(prepared.asked.name, job.events())
    try:
        if figure.series:
            (job.training / "loss.svg").write_text(drawing.svg(figure), encoding="utf-8")
            drawing.png(figure, job.training / "loss.png")
        if template:
            (job.training / TEMPLATE).write_text(template, encoding="utf-8")
        for name in ("checkpoints", "datasets", "gguf"):
            shutil.rmtree(job.training / name, ignore_errors=True)
    except OSError as error:
        raise DiskFull(f"The result cannot be written ({error.strerror}).") from error


def _write_result(folder: Path, document: Mapping[str, Any]) -> None:
    try:
        write_whole(folder / "result.json", json.dumps(document, ensure_ascii=False, indent=1))
    except OSError as error:
        raise DiskFull(f"The result cannot be written ({error.strerror}).") from error
