"""`hearth fit`: how much memory a model needs here, in parts, and what is chosen for it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from codehearth.cli.options import json_option, model_argument, settings_options
from codehearth.cli.output import count, print_data, print_json, print_table, size
from codehearth.settings import read_settings

if TYPE_CHECKING:
    from codehearth.models.facts import Weights
    from codehearth.models.fitting import Fit
    from codehearth.models.hardware import Hardware


class TokensType(click.ParamType[int]):
    """A number of tokens: `32768` or `32k`."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).lower().removesuffix("k")
        if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) < 10**8):
            self.fail(f"'{value}' is not a number of tokens, such as 32768 or 32k.", param, ctx)
        return int(text[:9]) * (1024 if str(value).lower().endswith("k") else 1)


@click.command()
@model_argument(of="known")
@click.option("--ctx", "context", type=TokensType(), metavar="TOKENS", help="Context of a request.")
@click.option(
    "--slots", type=click.IntRange(1, 256), metavar="N", help="Requests answered at a time."
)
@click.option("--all", "shows_all", is_flag=True, help="Every engine and precision, as a table.")
@settings_options("engine", "precision")
@json_option
def fit(
    model: str,
    context: int | None,
    slots: int | None,
    shows_all: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Show how much memory a model needs here, and what fits.

    What is not asked for is chosen, and the reason is told. A model that is not here yet is
    estimated. Exit code 3: it does not fit.
    """
    from codehearth.cli.machine import usable_hardware
    from codehearth.cli.shelf import store_of
    from codehearth.models.fitting import fit_of, weights_of_text

    settings = read_settings(flags=flags)
    hardware = usable_hardware(settings)
    if shows_all:
        weights = weights_of_text(store_of(settings), model)
        _print_table(
            weights, hardware, context or settings.context, slots or settings.slots, as_json
        )
        return
    found = fit_of(
        store_of(settings),
        model,
        hardware,
        context_tokens=context or settings.context or None,
        num_slots=slots or settings.slots or None,
        engine=settings.engine,
        precision=settings.precision,
    )
    if as_json:
        print_json(as_document(found, hardware))
    else:
        _print(found, hardware)


def _print_table(
    weights: Weights, hardware: Hardware, context: int, slots: int, as_json: bool
) -> None:
    from codehearth.models.fit_table import fit_table

    rows = fit_table(weights, hardware, context_tokens=context or None, num_slots=slots or None)
    if as_json:
        print_json([row.as_document() for row in rows])
        return
    headings = ("ENGINE", "PRECISION", "WEIGHTS", "CONTEXT", "TOGETHER", "ON GPU", "FITS")
    print_table(
        headings,
        [
            (
                row.engine,
                row.precision,
                size(row.weights_bytes),
                size(row.kv_bytes),
                size(row.total_bytes),
                size(row.gpu_bytes) if row.gpu_bytes else "-",
                "yes" if row.fits else "needs an NVIDIA GPU" if row.lacks_gpu else "no",
            )
            for row in rows
        ],
    )
    free = ", ".join(f"{size(gpu.free_bytes)} on {gpu.name}" for gpu in hardware.gpus)
    if weights.is_estimate:
        print_data("\nestimated from the number of parameters; exact once it is here")
    print_data(
        f"\nfree now: {size(hardware.free_bytes)}{', ' + free if free else ''}; "
        "`hearth engines` says which engines run here"
    )


def as_document(found: Fit, hardware: Hardware) -> dict[str, Any]:
    plan = found.plan
    return {
        "model": found.name,
        "precision": found.precision,
        "is_estimate": not found.is_here,
        "num_parameters": found.weights.num_parameters,
        "context_tokens": plan.context_tokens,
        "num_slots": plan.num_slots,
        "gpu_layers": plan.gpu_layers,
        "parts_bytes": dict(plan.footprint.parts),
        "total_bytes": plan.footprint.total_bytes,
        "gpu_bytes": plan.footprint.gpu_bytes,
        "free_bytes": hardware.free_bytes,
        "free_gpu_bytes": [gpu.free_bytes for gpu in hardware.gpus],
        "why": list(found.why),
        "footprint": dataclasses.asdict(plan.footprint),
    }


def _print(found: Fit, hardware: Hardware) -> None:
    plan, footprint = found.plan, found.plan.footprint
    parameters = f"{count(found.weights.num_parameters)} parameters"
    print_data(f"{found.name}: {parameters}, {found.precision}, fits\n")
    rows = [(part, size(num_bytes)) for part, num_bytes in footprint.parts]
    rows.append(("together", size(footprint.total_bytes)))
    if footprint.gpu_bytes:
        rows.append(("of it on the GPU", size(footprint.gpu_bytes)))
    rows.append(("free now", size(hardware.free_bytes)))
    rows += [(f"free on {gpu.name}", size(gpu.free_bytes)) for gpu in hardware.gpus]
    print_table(("PART", "BYTES"), rows)
    print_data(f"\ncontext {plan.context_tokens} tokens, {plan.num_slots} at a time")
    for reason in found.why:
        print_data(f"- {reason}")
