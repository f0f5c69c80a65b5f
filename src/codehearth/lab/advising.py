"""Advice on a model that is here: the newest measurement of it on this machine, else a prediction.

The rules are `advice`'s; here their figures are found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codehearth.engines.threads import threads_for
from codehearth.errors import DoesNotFit
from codehearth.lab.advice import (
    TYPICAL_LOSS,
    Advice,
    Option,
    advise,
    measured_option,
)
from codehearth.lab.extent import decoding_speed, reading_speed
from codehearth.lab.naming import base_of
from codehearth.lab.result import Result, results
from codehearth.models.estimate import at_precision
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.local_models import LocalModel
from codehearth.models.planning import plan
from codehearth.models.precisions import BITS_PER_WEIGHT
from codehearth.models.weights import weights_here


@dataclass(frozen=True)
class Counsel:
    """Advice with the measurement that it comes from; None where it is predicted."""

    advice: tuple[Advice, ...]
    result: Result | None

    def of(self, purpose: str) -> Advice | None:
        return next((one for one in self.advice if one.purpose == purpose), None)


def counsel(model: LocalModel, results_folder: Path, hardware: Hardware) -> Counsel:
    """Raises DoesNotFit where no precision fits, BadWeights, and Unsupported for a remote model."""
    weights = weights_here(model)
    result = newest_result(model, weights, results_folder, hardware)
    advice = _measured(result, weights, hardware) if result else _predicted(weights, hardware)
    if not advice:
        raise _nothing_fits(model, weights, hardware)
    return Counsel(advice, result)


def newest_result(
    model: LocalModel, weights: Weights, folder: Path, hardware: Hardware
) -> Result | None:
    """The newest result of this model on this machine, and on what would compute here now: what
    was measured on the processor says nothing of a GPU."""
    names = {model.name, base_of(model)}
    gpus = tuple(gpu.name for gpu in hardware.gpus)
    for result in results(folder):
        is_from_here = (
            result.is_of(hardware.cpu_name, hardware.num_cores) and result.computed_on == gpus
        )
        if result.model.name in names and is_from_here and _is_of_these(result, model, weights):
            return result
    return None


def _is_of_these(result: Result, model: LocalModel, weights: Weights) -> bool:
    """Whether the name still stands for the weights that were measured: those of an update are
    others."""
    if result.model.num_parameters != weights.num_parameters:
        return False
    there = {one.file.name: one.file.sha256 for one in result.precisions}
    return all(
        sha256 in there.get(name, sha256).split(",") for name, sha256 in model.sha256.items()
    )


def _measured(result: Result, weights: Weights, hardware: Hardware) -> tuple[Advice, ...]:
    options = [
        measured_option(
            one,
            _fitting_context(weights, one.precision, hardware),
            is_noisy=result.noise.is_noisy,
        )
        for one in result.precisions
    ]
    return advise(
        [option for option in options if option is not None],
        num_threads=result.timing.num_threads,
        reference=result.reference,
        is_measured=True,
    )


def _predicted(weights: Weights, hardware: Hardware) -> tuple[Advice, ...]:
    threads = threads_for(
        hardware.num_cores, hardware.num_physical_cores, num_parameters=weights.num_parameters
    )
    return advise(
        list(_typical_options(weights, hardware)),
        num_threads=threads,
        reference="the original",
        is_measured=False,
    )


def _typical_options(weights: Weights, hardware: Hardware) -> Iterator[Option]:
    """The usual precisions, none better than what is here, with rough figures."""
    for precision, (kl, agreement) in TYPICAL_LOSS.items():
        if BITS_PER_WEIGHT[precision] > weights.bits_per_weight + 1:
            continue
        smaller = at_precision(weights, precision)
        yield Option(
            precision=precision,
            kl=kl,
            agreement=agreement,
            decode_tokens_per_s=decoding_speed(smaller),
            ttft_s=256 / reading_speed(smaller, hardware),
            num_bytes=smaller.num_bytes,
            context_tokens=_fitting_context(weights, precision, hardware),
        )


def _fitting_context(weights: Weights, precision: str, hardware: Hardware) -> int:
    """Tokens of context that fit beside the weights in this precision; 0 if they do not fit."""
    try:
        return plan(at_precision(weights, precision), hardware).context_tokens
    except DoesNotFit:
        return 0


def _nothing_fits(model: LocalModel, weights: Weights, hardware: Hardware) -> DoesNotFit:
    """With what the smallest of the usual precisions needs."""
    smallest = min(TYPICAL_LOSS, key=BITS_PER_WEIGHT.__getitem__)
    needed = at_precision(weights, smallest).num_bytes
    free = hardware.free_bytes
    try:
        plan(at_precision(weights, smallest), hardware)
    except DoesNotFit as error:
        needed, free = error.needed_bytes, error.free_bytes
    return DoesNotFit(
        f"No precision of '{model.name}' fits into the memory that is free.",
        needed_bytes=needed,
        free_bytes=free,
        hint=f"`hearth fit {model.name}` shows what it needs",
    )
