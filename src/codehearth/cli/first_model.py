"""Which model to take first on a machine; pure.

1. Only models that were made for code and can both chat and fill in, whose licence lets everybody
   use them, and of which there is a GGUF.
2. Only those that fit two thirds of the memory that is free, at the precision that suits the
   machine: an editor and a browser want the rest.
3. Only those that answer at a readable speed. It is guessed from the bytes that every token reads.
4. Of these the newest generation, then the best published HumanEval, then the largest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from codehearth.cli.output import count
from codehearth.models.catalogue import Row
from codehearth.models.fitting import Fit, fits
from codehearth.models.hardware import Hardware

FREE_LICENCES = ("apache-2.0", "mit")
# About how fast people read code.
MIN_TOKENS_PER_S = 8.0
# Memory bandwidth in bytes/s: what desktop and server processors reach with all cores, and what a
# core can draw; what a modest GPU has. Only the order of magnitude matters.
_CPU_BANDWIDTH = 40e9
_CORE_BANDWIDTH = 10e9
_GPU_BANDWIDTH = 250e9
_MEMORY_SHARE = 2 / 3


@dataclass(frozen=True)
class FirstModel:
    """A row at a precision, its plan, and the reasons for the choice."""

    row: Row
    fit: Fit
    tokens_per_s: float
    why: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.fit.name

    @property
    def num_bytes(self) -> int:
        return self.row.estimated_bytes(self.fit.precision)


def best_first_model(rows: Iterable[Row], hardware: Hardware) -> FirstModel | None:
    """The best of `rows` for this machine, None where none is right."""
    suitable = [row for row in rows if is_suitable(row)]  # 1
    budget = int(hardware.free_bytes * _MEMORY_SHARE)
    fitting = [
        (row, fit) for row in suitable if (fit := fits(row, hardware, budget_bytes=budget))
    ]  # 2
    quick = [
        (row, fit, speed)
        for row, fit in fitting
        if (speed := tokens_per_s(row, fit, hardware)) >= MIN_TOKENS_PER_S
    ]  # 3
    if not quick:
        return None
    row, fit, speed = max(quick, key=lambda found: _rank(found[0]))  # 4
    why = (
        _quality(row),
        f"{len(suitable)} models that chat and fill in are free to use, {len(fitting)} of them fit "
        f"here, {len(quick)} answer at a readable speed",
        f"about {speed:.0f} tokens a second, guessed from its size and this machine",
        *fit.why,
    )
    return FirstModel(row, fit, speed, why)


def is_suitable(row: Row) -> bool:
    return (
        row.kind == "chat"
        and row.fim is not None
        and row.licence in FREE_LICENCES
        and any(files.format == "gguf" for files in row.files)
    )


def tokens_per_s(row: Row, fit: Fit, hardware: Hardware) -> float:
    """A guess: decoding reads all weights that are active for every token."""
    share = (row.num_active_parameters or row.num_parameters) / row.num_parameters
    is_on_gpu = bool(hardware.gpus) and fit.plan.gpu_layers >= fit.weights.num_layers
    bandwidth = min(_CPU_BANDWIDTH, hardware.num_physical_cores * _CORE_BANDWIDTH)
    return (_GPU_BANDWIDTH if is_on_gpu else bandwidth) / (fit.weights.num_bytes * share)


def _rank(row: Row) -> tuple[str, float, int]:
    return row.released[:4], _human_eval(row), row.num_parameters


def _human_eval(row: Row) -> float:
    return max((one.value for one in row.figures if one.benchmark == "HumanEval"), default=0.0)


def _quality(row: Row) -> str:
    published = [f"{one.benchmark} {one.value:g}" for one in row.figures[:1]]
    size = f"{count(row.num_parameters)} parameters"
    return ", ".join((f"{row.title}: {size}", *published, row.licence, f"released {row.released}"))
