"""`hearth ls`: the models on this machine, and those that could be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from codehearth.cli.options import json_option, settings_now
from codehearth.cli.output import count, print_json, print_table, say, size

if TYPE_CHECKING:
    from codehearth.models.catalogue import Row
    from codehearth.models.hardware import Hardware
    from codehearth.models.store import LocalModel


@dataclass(frozen=True)
class Entry:
    """One line of the list; `fits` is None where nobody asked."""

    name: str
    is_here: bool
    precision: str | None
    num_bytes: int
    context_tokens: int | None
    num_parameters: int | None
    kind: str | None
    licence: str | None
    source: str
    fits: bool | None = None


@click.command()
@click.option("-a", "--all", "show_all", is_flag=True, help="Also what the catalogue knows.")
@click.option("--fits", "only_fitting", is_flag=True, help="Only what fits the memory free now.")
@json_option
def ls(show_all: bool, only_fitting: bool, as_json: bool) -> None:
    """List the models on this machine, or all that are known.

    With --all --fits the precision is the one that suits this machine best.
    """
    from codehearth.cli.shelf import store_of

    settings = settings_now()
    hardware = None
    if only_fitting:
        from codehearth.cli.machine import usable_hardware

        hardware = usable_hardware(settings)
    store = store_of(settings)
    models = store.models()
    checkpoint = store.starter_checkpoint.here()
    if checkpoint.files:  # takes room, though the engine that ships does not load it
        models = (*models[:1], checkpoint, *models[1:])
    entries = [_local(model, hardware) for model in models]
    if show_all:
        entries += _catalogue({model.row.name for model in models if model.row}, hardware)
    if only_fitting:
        entries = [entry for entry in entries if entry.fits]
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    print_table(("NAME", "PARAMETERS", "SIZE", "CONTEXT", "KIND", "SOURCE"), map(_cells, entries))
    if not show_all:
        say("\n`hearth ls --all` also lists what can be fetched.")


def _cells(entry: Entry) -> tuple[str, ...]:
    return (
        entry.name,
        count(entry.num_parameters) if entry.num_parameters else "",
        size(entry.num_bytes) if entry.is_here else f"~{size(entry.num_bytes)}",
        f"{entry.context_tokens}" if entry.context_tokens else "",
        entry.kind or "",
        entry.source if entry.is_here else "(not here)",
    )


def _local(model: LocalModel, hardware: Hardware | None) -> Entry:
    row = model.row
    return Entry(
        name=model.name,
        is_here=True,
        precision=model.precision,
        num_bytes=model.num_bytes,
        context_tokens=row.context_tokens if row else None,
        num_parameters=row.num_parameters if row else None,
        kind=row.kind if row else None,
        licence=row.licence if row else None,
        source=model.source,
        fits=None if hardware is None else _local_fits(model, hardware),
    )


def _local_fits(model: LocalModel, hardware: Hardware) -> bool:
    from codehearth.errors import HearthError
    from codehearth.models.fitting import fit_of_local

    try:
        fit_of_local(model, hardware)
    except HearthError:  # also weights that cannot be read: they will not run
        return False
    return True


def _catalogue(here: set[str], hardware: Hardware | None) -> list[Entry]:
    from codehearth.models.catalogue import catalogue

    rows = [row for row in catalogue().values() if row.files and row.name not in here]
    return [_known(row, hardware) for row in rows]


def _known(row: Row, hardware: Hardware | None) -> Entry:
    from codehearth.models.fitting import fits
    from codehearth.models.sources import default_precision

    precision = default_precision(row)
    fit = None if hardware is None else fits(row, hardware)
    if fit is not None:
        precision = fit.precision
    return Entry(
        name=row.name if hardware is None else f"{row.name}:{precision}",
        is_here=False,
        precision=precision,
        num_bytes=row.estimated_bytes(precision),
        context_tokens=row.context_tokens,
        num_parameters=row.num_parameters,
        kind=row.kind,
        licence=row.licence,
        source="",
        fits=None if hardware is None else fit is not None,
    )
