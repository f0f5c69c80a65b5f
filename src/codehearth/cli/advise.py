"""`hearth advise`: the precision, context and threads to use on this machine, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from codehearth.cli.options import json_option, model_argument, settings_now
from codehearth.cli.output import print_data, print_json, say
from codehearth.errors import DoesNotFit

if TYPE_CHECKING:
    from codehearth.lab.advice import Advice, Option
    from codehearth.lab.result import Result
    from codehearth.models.facts import Weights
    from codehearth.models.hardware import Hardware
    from codehearth.models.local_models import LocalModel
    from codehearth.settings import Settings


@click.command()
@model_argument()
@json_option
def advise(model: str, as_json: bool) -> None:
    """Name the precision, context and threads to use here.

    For chat and for typing, from what `hearth measure` has found on this machine; without that it
    predicts, and says so.
    """
    from codehearth.cli.machine import usable_hardware
    from codehearth.cli.shelf import store_of

    settings = settings_now()
    hardware = usable_hardware(settings)
    found = store_of(settings).find(model, allow_path=True)
    result = _newest(settings, found, hardware)
    advice = _measured(result, found, hardware) if result else _predicted(found, hardware)
    if not advice:
        raise _nothing_fits(found, hardware)
    if as_json:
        print_json(
            {
                "model": found.name,
                "result": result.id if result else None,
                "advice": [one.as_document() for one in advice],
            }
        )
        return
    for one in advice:
        threads = "1 thread" if one.num_threads == 1 else f"{one.num_threads} threads"
        print_data(
            f"{one.purpose}: {one.precision}, context {one.context_tokens}, {threads}: {one.reason}"
        )
    if result:
        say(f"\nFrom the measurement {result.id}.")
    else:
        say(f"\nThis is predicted from typical figures; `hearth measure {model}` measures.")


def _nothing_fits(found: LocalModel, hardware: Hardware) -> DoesNotFit:
    """With what the smallest of the usual precisions needs."""
    from codehearth.lab.advice import TYPICAL_LOSS
    from codehearth.models.estimate import at_precision
    from codehearth.models.planning import plan
    from codehearth.models.precisions import BITS_PER_WEIGHT

    smallest = min(TYPICAL_LOSS, key=BITS_PER_WEIGHT.__getitem__)
    hint = f"`hearth fit {found.name}` shows what it needs"
    try:
        plan(at_precision(_weights(found), smallest), hardware)
    except DoesNotFit as error:
        return DoesNotFit(
            f"No precision of '{found.name}' fits into the memory that is free.",
            needed_bytes=error.needed_bytes,
            free_bytes=error.free_bytes,
            hint=hint,
        )
    raise AssertionError("the smallest precision fits, so there was advice")


def _newest(settings: Settings, found: LocalModel, hardware: Hardware) -> Result | None:
    """The newest result of this model on this machine."""
    from codehearth.lab.advice import is_of_this_machine
    from codehearth.lab.naming import base_of
    from codehearth.lab.result import results

    names = {found.name, base_of(found)}
    for result in results(settings.data / "lab"):
        if result.model.name in names and is_of_this_machine(
            result, hardware.cpu_name, hardware.num_cores
        ):
            return result
    return None


def _measured(result: Result, found: LocalModel, hardware: Hardware) -> tuple[Advice, ...]:
    from codehearth.lab.advice import advise, measured_option

    weights = _weights(found)
    options = [
        measured_option(one, _fitting_context(weights, one.precision, hardware))
        for one in result.precisions
    ]
    return advise(
        [option for option in options if option is not None],
        num_threads=result.timing.num_threads,
        reference=result.reference,
        is_measured=True,
    )


def _predicted(found: LocalModel, hardware: Hardware) -> tuple[Advice, ...]:
    from codehearth.engines.threads import threads_for
    from codehearth.lab.advice import advise

    weights = _weights(found)
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
    from codehearth.lab.advice import TYPICAL_LOSS, Option
    from codehearth.lab.extent import decoding_speed, reading_speed
    from codehearth.models.estimate import at_precision
    from codehearth.models.precisions import BITS_PER_WEIGHT

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


def _weights(found: LocalModel) -> Weights:
    from codehearth.models.weights import weights_here

    return weights_here(found)


def _fitting_context(weights: Weights, precision: str, hardware: Hardware) -> int:
    """Tokens of context that fit beside the weights in this precision; 0 if they do not fit."""
    from codehearth.models.estimate import at_precision
    from codehearth.models.planning import plan

    try:
        return plan(at_precision(weights, precision), hardware).context_tokens
    except DoesNotFit:
        return 0
