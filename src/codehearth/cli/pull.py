"""`hearth pull`: a model is fetched, with its progress on standard error."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from codehearth.cli.options import json_lines_option, model_argument, settings_options
from codehearth.cli.output import duration, print_json_line, say, size
from codehearth.cli.progress import Pace, byte_bar, is_watched
from codehearth.errors import InvalidRequest
from codehearth.settings import read_settings

if TYPE_CHECKING:
    from codehearth.models.store import LocalModel, Progress, Store

ProgressCallback = Callable[["Progress"], None]


@click.command()
@model_argument(of="known")
@settings_options("hub")
@json_lines_option
def pull(model: str, as_json: bool, **flags: Any) -> None:
    """Fetch a model from Hugging Face or ModelScope.

    A download that was cut goes on where it was. MODEL is a name of the catalogue
    (qwen2.5-coder:1.5b, with a precision: qwen2.5-coder-1.5b:q8_0) or a repository on a hub
    (hf:org/repo, ms:org/repo:FILE).
    """
    from codehearth.cli.shelf import store_of
    from codehearth.models.names import PathName, parse_name

    if isinstance(parse_name(model, allow_path=True), PathName):
        raise InvalidRequest(
            f"'{model}' is a path, so there is nothing to fetch.",
            hint=f"`hearth serve -m {model}` serves it, `hearth run {model}` asks it",
        )
    store = store_of(read_settings(flags=flags))
    if not as_json:
        fetch(store, model)
        return
    pulled = store.pull(model, progress=_print_progress)
    print_json_line({"stage": "ready", "model": pulled.name, "path": str(pulled.path)})


def fetch(store: Store, model: str) -> LocalModel:
    """The model, fetched if need be; everything about it goes to standard error.

    A Ctrl-C is passed on after it was said that nothing is lost.
    """
    try:
        with _shown() as progress:
            pulled = store.pull(model, progress=progress)
    except KeyboardInterrupt:
        say(f"\nStopped. What has arrived is kept; `hearth pull {model}` goes on from there.")
        raise
    say(f"'{pulled.name}' is here ({size(pulled.num_bytes)}). `hearth run {pulled.name}` uses it.")
    return pulled


def _print_progress(progress: Progress) -> None:
    print_json_line(dataclasses.asdict(progress))


@contextmanager
def _shown() -> Iterator[ProgressCallback]:
    if not is_watched():
        yield _Lines()
        return
    with byte_bar("looking") as bar:

        def show(progress: Progress) -> None:
            if progress.note:
                bar.say(progress.note)
            name = progress.file.rsplit("/", 1)[-1]
            total = progress.total_bytes or None
            bar.show(f"{progress.stage} {name}", progress.done_bytes, total)

        yield show


class _Lines:
    """Progress as plain lines: each file, and at most one line every ten seconds."""

    def __init__(self) -> None:
        self._pace = Pace()

    def __call__(self, progress: Progress) -> None:
        if progress.note:
            say(progress.note)
        is_moving = progress.stage in ("download", "verify")
        if is_moving and self._pace.is_due((progress.stage, progress.file)):
            say(line_of(progress))


def line_of(progress: Progress) -> str:
    """`download model.gguf: 1.2 of 4.4 GiB, 8.1 MiB/s, 6m 40s left`."""
    parts = [f"{size(progress.done_bytes)} of {size(progress.total_bytes)}"]
    if progress.bytes_per_s > 0:
        parts.append(f"{size(progress.bytes_per_s)}/s")
    if progress.left_s is not None:
        parts.append(f"{duration(progress.left_s)} left")
    return f"{progress.stage} {progress.file}: {', '.join(parts)}"
