"""Whether a model would fit this machine, as the API tells it: where, and with which memory.

What models in memory hold counts as free, for they leave when another is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from codehearth.errors import BadWeights, DoesNotFit, HearthError
from codehearth.models.catalogue import Row, catalogue
from codehearth.models.facts import Weights
from codehearth.models.fitting import Fit, fit_of_row
from codehearth.models.hardware import Hardware
from codehearth.models.local_models import LocalModel
from codehearth.models.planning import RESERVED_BYTES, Plan, plan
from codehearth.models.weights import read_weights

_STEP_BYTES = 128 * 2**20

Place = Literal["gpu", "partly", "cpu", "no"]


@dataclass(frozen=True)
class Verdict:
    """Whether it fits. `fits` is None where that cannot be told; `why` says why, or what would."""

    fits: Place | None
    why: tuple[str, ...] = ()
    precision: str | None = None
    predicted: dict[str, Any] | None = None
    needed_bytes: int | None = None
    free_bytes: int | None = None


def room_bytes(hardware: Hardware, *, held_bytes: int, memory_setting: int) -> int:
    """What a model may take of the host: what is free and held by models, within the setting."""
    room = hardware.free_bytes + held_bytes - RESERVED_BYTES
    return max(0, min(room, memory_setting) if memory_setting else room)


def as_if_left(hardware: Hardware, held_bytes: int) -> Hardware:
    """The machine as if our models had left its GPUs: a model that is wanted makes them leave."""
    gpus = []
    for gpu in hardware.gpus:
        freed = min(held_bytes, gpu.total_bytes - gpu.free_bytes)
        held_bytes -= freed
        gpus.append(replace(gpu, free_bytes=gpu.free_bytes + freed))
    return replace(hardware, gpus=tuple(gpus))


def verdict_of_local(model: LocalModel, hardware: Hardware, budget_bytes: int) -> Verdict:
    if model.format == "remote":
        return Verdict(None, ("other servers run it",))
    if model.format != "gguf":
        return Verdict(None, ("what this format needs is not predicted here",))

    def fit() -> Fit:
        weights = _weights_of(model)
        chosen = plan(weights, hardware, budget_bytes=budget_bytes)
        return Fit(model.name, weights.precision, weights, chosen, chosen.why, is_here=True)

    return _verdict(fit)


def verdict_of_row(
    row: Row, precision: str | None, hardware: Hardware, budget_bytes: int
) -> Verdict:
    """Of a model that is not here: estimated from what the catalogue knows.

    A page asks for the whole catalogue again and again, so memory is told in steps here, and what
    was found for one of them is remembered.
    """
    budget_bytes -= budget_bytes % _STEP_BYTES
    return _verdict_of_row(row.name, precision, _in_steps(hardware), budget_bytes)


@lru_cache(maxsize=4096)
def _verdict_of_row(
    name: str, precision: str | None, hardware: Hardware, budget_bytes: int
) -> Verdict:
    row = catalogue()[name]
    return _verdict(lambda: fit_of_row(row, hardware, precision, budget_bytes=budget_bytes))


def _in_steps(hardware: Hardware) -> Hardware:
    """The machine with its free memory rounded down; the budget says what of the host's counts."""
    gpus = [
        replace(gpu, free_bytes=gpu.free_bytes - gpu.free_bytes % _STEP_BYTES)
        for gpu in hardware.gpus
    ]
    return replace(hardware, free_bytes=0, gpus=tuple(gpus))


def _weights_of(model: LocalModel) -> Weights:
    """The facts of a file that is read again only when it changed: large vocabularies take time."""
    try:
        stat = model.path.stat()
    except OSError as error:
        raise BadWeights(f"The files of '{model.name}' cannot be read.") from error
    return _read(model.path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, num_bytes: int, changed_ns: int) -> Weights:
    return read_weights(path)


def _verdict(plan_it: Callable[[], Fit]) -> Verdict:
    try:
        fit = plan_it()
    except DoesNotFit as error:
        why = tuple(text for text in (error.message, error.hint) if text)
        return Verdict("no", why, needed_bytes=error.needed_bytes, free_bytes=error.free_bytes)
    except HearthError as error:
        return Verdict(None, (error.message,))
    return Verdict(_place(fit.weights, fit.plan), fit.why, fit.precision, _as_document(fit.plan))


def _place(weights: Weights, chosen: Plan) -> Place:
    if chosen.gpu_layers > weights.num_layers:
        return "gpu"
    return "partly" if chosen.gpu_layers > 0 else "cpu"


def _as_document(chosen: Plan) -> dict[str, Any]:
    return {
        "total_bytes": chosen.footprint.total_bytes,
        "gpu_bytes": chosen.footprint.gpu_bytes,
        "context_tokens": chosen.context_tokens,
        "num_slots": chosen.num_slots,
        "parts": dict(chosen.footprint.parts),
    }
