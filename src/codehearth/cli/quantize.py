"""`hearth quantize`: a model in other precisions, as files that can be served at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codehearth.cli.options import json_option, model_argument, settings_options
from codehearth.cli.output import (
    duration,
    print_json,
    print_table,
    say,
    size,
    tell_warning,
)
from codehearth.cli.progress import Pace, byte_bar, is_watched
from codehearth.errors import InvalidRequest
from codehearth.settings import Settings, read_settings

if TYPE_CHECKING:
    from codehearth.lab.importance import Importance
    from codehearth.lab.layout import Layout
    from codehearth.lab.mixture import Recipe
    from codehearth.lab.quantize import Progress, ProgressCallback, Quantised
    from codehearth.lab.quantize_checkpoint import Plan
    from codehearth.models.local_models import LocalModel
    from codehearth.models.store import Store


@click.command()
@model_argument()
@click.option(
    "--to",
    "precisions",
    required=True,
    metavar="PRECISIONS",
    help="What to make, the names separated by commas: q8_0,q5_k_m,q4_k_m for llama.cpp; int8, "
    "int4 (bitsandbytes) and gptq4 for transformers, gptq4 for vLLM too.",
)
@click.option(
    "--calibration",
    "--imatrix",
    "calibration",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weigh the columns by what a text of yours brings to them; or, for GGUF, a ready "
    "importance matrix (GGUF, dat). gptq4 is always calibrated, without it on Python's library.",
)
@click.option("--dry-run", is_flag=True, help="Only tell how large the files would be.")
@settings_options("threads", "data")
@json_option
def quantize(
    model: str,
    precisions: str,
    calibration: Path | None,
    dry_run: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Write a model in other precisions.

    GGUF files for llama.cpp, or checkpoints for other engines.

    MODEL is the name of a model on this machine, a GGUF file or the folder of a Hugging Face
    checkpoint. What is made is found as NAME:PRECISION and can be served at once. A GGUF that was
    cut off goes on where it was; a checkpoint begins anew.

    int8, int4 and gptq4 are made of the checkpoint by the engine transformers, in its own
    environment: `hearth engines install transformers`, with `--with gptq` for gptq4.
    """
    from codehearth.cli.quantize_checkpoint import plans
    from codehearth.cli.shelf import store_of
    from codehearth.lab.sources import require_sound

    recipes, packed = _wanted(precisions, calibration)
    settings = read_settings(flags=flags)
    store = store_of(settings)
    found = store.find(model, allow_path=True, runs_code=False)
    if not dry_run:
        require_sound(found)
    planned = plans(store, settings, model, packed, calibration)
    layouts = _layouts(store, settings, found, recipes, calibration) if recipes else []
    if dry_run:
        _print_plan(layouts, planned, as_json=as_json)
        return
    try:
        made = [_make(store, settings, found, laid_out) for laid_out in layouts]
        made += [_make_checkpoint(store, settings, found, one) for one in planned]
    except KeyboardInterrupt:
        say("\nStopped. What is whole is kept; the same command goes on from there.")
        raise
    if as_json:
        print_json([one.as_document() for one in made])
        return
    print_table(("NAME", "SIZE", "BITS/WEIGHT", "TIME"), map(_cells, made))
    say(f"\n`hearth run {made[-1].name}` uses it, `hearth measure {model}` tells what it costs.")


def _layouts(
    store: Store,
    settings: Settings,
    found: LocalModel,
    recipes: list[Recipe],
    calibration: Path | None,
) -> list[Layout]:
    from codehearth.lab.layout import layout
    from codehearth.lab.sources import source_of

    source = source_of(found)
    try:
        importance = _importance(store, settings, found, calibration) if calibration else None
    except KeyboardInterrupt:
        say("\nStopped. Nothing was made.")
        raise
    layouts = [layout(source, recipe, importance) for recipe in recipes]
    _warn(found, layouts)
    return layouts


def _importance(store: Store, settings: Settings, found: LocalModel, file: Path) -> Importance:
    """The matrix in `file`, or the one that the text in it makes of the model as it is here."""
    from codehearth.cli.progress import share_bar
    from codehearth.lab import calibrate
    from codehearth.lab.candidates import reference_precision
    from codehearth.lab.importance import is_importance, read_importance
    from codehearth.lab.layout import layout
    from codehearth.lab.mixture import recipe_of
    from codehearth.lab.sources import source_of
    from codehearth.lab.texts import text_of_file

    if is_importance(file):
        return read_importance(file)
    text = text_of_file(file)
    path = found.path
    if found.format == "safetensors":
        own = layout(source_of(found), recipe_of(reference_precision(found)))
        path = _make(store, settings, found, own).path
    folder = settings.data / "lab" / "importance"
    threads = _threads(settings)
    if not is_watched():
        say(f"calibrating on {text.title}")
        return calibrate.run(path, text, folder, num_threads=threads, progress=lambda *_: None)
    with share_bar("calibrating") as bar:
        return calibrate.run(
            path,
            text,
            folder,
            num_threads=threads,
            progress=lambda done, total: bar.show(f"calibrating on {text.title}", done / total, 1),
        )


def _threads(settings: Settings) -> int:
    from codehearth.models.hardware import snapshot

    return settings.threads or max(1, int(snapshot().num_cores))


def _wanted(precisions: str, calibration: Path | None) -> tuple[list[Recipe], list[str]]:
    """The recipes of GGUF files, and the names of checkpoints."""
    from codehearth.lab.mixture import recipe_of
    from codehearth.models.precisions import CHECKPOINT_PRECISIONS, normalised

    names = dict.fromkeys(map(normalised, precisions.replace(",", " ").split()))
    if not names:
        raise InvalidRequest("No precision is named.", hint="--to q8_0,q4_k_m")
    packed = [name for name in names if name in CHECKPOINT_PRECISIONS]
    recipes = [recipe_of(name) for name in names if name not in packed]
    if calibration is not None and not recipes and "gptq4" not in packed:
        raise InvalidRequest(
            f"{' and '.join(packed)} take no calibration.", hint="leave --calibration out"
        )
    return list({recipe.precision: recipe for recipe in recipes}.values()), packed


def _make(store: Store, settings: Settings, found: LocalModel, laid_out: Layout) -> Quantised:
    from codehearth.lab.naming import made_of
    from codehearth.lab.quantize import run
    from codehearth.models.pull import free_bytes_at

    precision = laid_out.recipe.precision
    known = laid_out.importance
    calibrated_on = f"{known.title or known.path.name} ({known.sha256[:12]})" if known else ""
    model = made_of(found, precision, calibrated_on=calibrated_on)
    with shown(precision) as progress:
        made = run(
            laid_out,
            store.made,
            model,
            num_threads=_threads(settings),
            free_bytes=free_bytes_at,
            progress=progress,
        )
    _tell_made(store, made)
    return made


def _make_checkpoint(
    store: Store, settings: Settings, found: LocalModel, planned: Plan
) -> Quantised:
    from codehearth.cli.quantize_checkpoint import make

    made = make(store, settings, found, planned, _threads(settings))
    _tell_made(store, made)
    return made


def _tell_made(store: Store, made: Quantised) -> None:
    if made.was_there:
        say(f"'{made.name}' is there already.")
    named = store.locate(made.name)
    if named.path != made.path:
        tell_warning(
            f"'{made.name}' goes on to mean the one from {named.source}; "
            f"the new one is at {made.path}"
        )


def _warn(found: LocalModel, layouts: list[Layout]) -> None:
    from codehearth.models.precisions import BITS_PER_WEIGHT

    bits = BITS_PER_WEIGHT.get(found.precision or "", 16.0)
    if bits < 8:
        tell_warning(
            f"'{found.name}' is {found.precision} already: what that lost stays lost. "
            "A better source gives better files."
        )
    for laid_out in layouts:
        if laid_out.fallbacks:
            say(
                f"{laid_out.recipe.precision}: {len(laid_out.fallbacks)} of "
                f"{len(laid_out.tensors)} tensors have rows that 256 does not divide; "
                "they keep more bits."
            )


def _print_plan(layouts: list[Layout], planned: list[Plan], *, as_json: bool) -> None:
    if as_json:
        exact = [
            {
                "precision": laid_out.recipe.precision,
                "num_bytes": laid_out.num_bytes,
                "bits_per_weight": laid_out.bits_per_weight,
                "types": dict(laid_out.types),
            }
            for laid_out in layouts
        ]
        estimated = [
            {
                "precision": one.precision,
                "num_bytes": one.num_bytes,
                "bits_per_weight": one.bits_per_weight,
                "is_estimated": True,
            }
            for one in planned
        ]
        print_json([*exact, *estimated])
        return
    rows = [
        (
            laid_out.recipe.precision,
            size(laid_out.num_bytes),
            f"{laid_out.bits_per_weight:.2f}",
            ", ".join(f"{count} {kind}" for kind, count in sorted(laid_out.types.items())),
        )
        for laid_out in layouts
    ]
    rows += [
        (one.precision, f"~{size(one.num_bytes)}", f"~{one.bits_per_weight:.2f}", "")
        for one in planned
    ]
    print_table(("PRECISION", "SIZE", "BITS/WEIGHT", "TENSORS"), rows)


def _cells(made: Quantised) -> tuple[str, ...]:
    took = "" if made.was_there else duration(made.seconds)
    return made.name, size(made.num_bytes), f"{made.bits_per_weight:.2f}", took


@contextmanager
def shown(precision: str) -> Iterator[ProgressCallback]:
    """Tells how far the making of a precision is."""
    if not is_watched():
        yield _Lines(precision)
        return
    with byte_bar(precision) as bar:
        yield lambda progress: bar.show(
            f"{precision} {progress.tensor}", progress.done_bytes, progress.total_bytes
        )


class _Lines:
    def __init__(self, precision: str) -> None:
        self._precision = precision
        self._pace = Pace()
        self._is_first = True

    def __call__(self, progress: Progress) -> None:
        if self._is_first and progress.resumed_bytes:
            say(f"{self._precision}: goes on behind {size(progress.resumed_bytes)}")
        self._is_first = False
        if self._pace.is_due():
            say(
                f"{self._precision}: {size(progress.done_bytes)} of {size(progress.total_bytes)}, "
                f"{progress.tensor}"
            )
