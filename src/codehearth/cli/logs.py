"""`hearth logs`: what the server and the engines of its models wrote."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from codehearth.cli.options import settings_now
from codehearth.cli.output import print_data, say
from codehearth.errors import HearthError, NotFound
from codehearth.settings import Settings

_LOOK_AGAIN_S = 0.2
_BLOCK_BYTES = 64 * 1024


@click.command()
@click.argument("model", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on and print what is written from now on.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    metavar="N",
    default=50,
    show_default=True,
    help="How many lines.",
)
def logs(model: str | None, follow: bool, lines: int) -> None:
    """Show what the server, or a model's engine, wrote last."""
    file = _file_of(settings_now(), model)
    say(f"{file}:")
    with file.open("rb") as opened:
        for line in last_lines(opened.fileno(), lines):
            print_data(line)
        position = os.fstat(opened.fileno()).st_size
    if follow:
        for line in _followed(file, position):
            print_data(line)


def _file_of(settings: Settings, model: str | None) -> Path:
    """The log of the server or of a model; raises NotFound."""
    folder = settings.data / "logs"
    if model is None:
        file = folder / "server.log"
        if file.exists():
            return file
        raise NotFound("There is no log yet.", hint="`hearth serve` writes one")
    known = {file.stem: file for file in sorted(folder.glob("*.log"))}
    for name in (file_name(model), file_name(_process_of(settings, model))):
        if name in known:
            return known[name]
    from codehearth.models.catalogue import nearest

    others = [stem for stem in known if stem != "server"]
    near = nearest(file_name(model), others) or tuple(others)
    hint = f"there are logs of {', '.join(near)}" if near else "no model was loaded yet"
    raise NotFound(f"There is no log of a model '{model}'.", hint=hint)


def _process_of(settings: Settings, model: str) -> str:
    """The name of the process that serves a model: adapters share one."""
    from codehearth.gateway.stores import make_store

    with suppress(HearthError):
        return make_store(settings).locate(model).process
    return model


def file_name(model: str) -> str:
    """The log's name of a model, as the gateway forms it."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in model)[:100]


def last_lines(descriptor: int, number: int) -> list[str]:
    """The last `number` lines of a file, read from its end: a log may be large."""
    position, tail = os.fstat(descriptor).st_size, b""
    while position > 0 and tail.count(b"\n") <= number:
        step = min(_BLOCK_BYTES, position)
        position -= step
        tail = os.pread(descriptor, step, position) + tail
    lines = tail.decode("utf-8", "replace").splitlines()
    return lines[-number:] if number else []


def _followed(file: Path, position: int) -> Iterator[str]:
    """Lines as they are written, also after the file was begun anew."""
    rest = b""
    while True:
        try:
            if file.stat().st_size < position:
                position, rest = 0, b""
            with file.open("rb") as opened:
                opened.seek(position)
                added = opened.read(_BLOCK_BYTES)
        except FileNotFoundError:
            position, added = 0, b""
        position += len(added)
        *lines, rest = (rest + added).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)
        if not added:
            time.sleep(_LOOK_AGAIN_S)
