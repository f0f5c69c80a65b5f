"""What is printed: data on standard output, all else on standard error.

Plain when the stream is no terminal or `NO_COLOR` is set. Text that a model or a server sent is
shown on a terminal without its control characters: an escape sequence could do anything to it.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

import click

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def prepare_streams() -> None:
    """No text may stop a command because the terminal's encoding lacks a character."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def print_data(text: str, *, newline: bool = True) -> None:
    """The answer itself, on standard output, seen at once."""
    shown = safe_for_terminal(text) if sys.stdout.isatty() else text
    sys.stdout.write(shown + "\n" if newline else shown)
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """One document, for people and programs."""
    print_data(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def print_json_line(value: Any) -> None:
    """One line of a stream of documents (NDJSON)."""
    print_data(json.dumps(value, ensure_ascii=False, default=str))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = table(headings, rows)
    print_data(styled(lines[0], sys.stdout, bold=True))
    for line in lines[1:]:
        print_data(line)


def say(text: str) -> None:
    """Everything that is not the answer, on standard error."""
    click.echo(safe_for_terminal(text), err=True)


def tell_error(message: str, hint: str | None = None) -> None:
    """`error: ...`, and after an empty line `hint: ...`."""
    say_styled("error:", message, fg="red")
    if hint:
        click.echo(err=True)
        say_styled("hint:", hint, fg="cyan")


def tell_warning(message: str) -> None:
    say_styled("warning:", message, fg="yellow")


def say_styled(label: str, message: str, **style: Any) -> None:
    head = styled(label, sys.stderr, bold=True, **style)
    click.echo(f"{head} {safe_for_terminal(message)}", err=True, color=True)


def styled(text: str, stream: TextIO, **style: Any) -> str:
    return click.style(text, **style) if has_colour(stream) else text


def has_colour(stream: TextIO) -> bool:
    """https://no-color.org, and terminals that say they can do nothing."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_interactive() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def safe_for_terminal(text: str) -> str:
    """`text` without control characters but line ends and tabs."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")


# Pure: numbers and rows as people read them.


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with aligned columns; a Chinese character takes two places."""
    cells = [tuple(headings), *(tuple(_one_line(cell) for cell in row) for row in rows)]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def facts(pairs: Mapping[str, str | None]) -> list[str]:
    """Lines of `name  value`; what is not known is left out."""
    known = {name: value for name, value in pairs.items() if value}
    wide = max(map(width, known), default=0)
    return [f"{name}{' ' * (wide - width(name))}  {value}" for name, value in known.items()]


def size(num_bytes: float) -> str:
    """Bytes in the unit that leaves one to four digits: `1.9 GiB`."""
    number = float(num_bytes)
    for unit in _UNITS:
        if abs(number) < 1024 or unit == _UNITS[-1]:
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"


def on_both(host_bytes: float, gpu_bytes: float | None) -> str:
    """Memory of the host, and that of GPUs where there is some: `330 MiB + 15.2 GiB GPU`."""
    return size(host_bytes) + (f" + {size(gpu_bytes)} GPU" if gpu_bytes else "")


def count(number: float) -> str:
    """Parameters as the field writes them: `6.8M`, `1.5B`."""
    for unit, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= factor:
            return f"{number / factor:.3g}{unit}"
    return f"{number:g}"


def duration(seconds: float) -> str:
    """`45s`, `3m 20s`, `2h 5m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def moment(seconds: float) -> str:
    """A time since 1970 in this machine's own zone."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def _one_line(text: str) -> str:
    return " ".join(text.split())
