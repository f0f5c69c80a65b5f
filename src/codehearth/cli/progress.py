"""Progress on standard error: a bar where somebody watches, a line now and then where not."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from codehearth.cli.output import has_colour

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn

_PLAIN_EVERY_S = 10.0
_MAX_WORDS = 60


def is_watched() -> bool:
    return sys.stderr.isatty()


class Pace:
    """When the next plain line is due: at each new stage, and else every ten seconds."""

    def __init__(self, stage: object = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage = stage
        self._said_at = clock()

    def is_due(self, stage: object = None) -> bool:
        now = self._clock()
        if stage == self._stage and now - self._said_at < _PLAIN_EVERY_S:
            return False
        self._stage, self._said_at = stage, now
        return True


class Bar:
    """One bar, with what is under way in words before it."""

    def __init__(self, bars: Bars, words: str, total: float | None) -> None:
        self._bars = bars
        self._task = bars.add_task(words, total=total)

    def show(self, words: str, done: float, total: float | None = None) -> None:
        self._bars.update(self._task, description=words[:_MAX_WORDS], completed=done, total=total)

    def say(self, text: str) -> None:
        """A line that stays, above the bar."""
        self._bars.console.print(text, markup=False, highlight=False)


@contextmanager
def byte_bar(words: str) -> Iterator[Bar]:
    """Bytes done, their speed, and the time that is left."""
    from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn()
    with _shown(columns) as bars:
        yield Bar(bars, words, None)


@contextmanager
def share_bar(words: str) -> Iterator[Bar]:
    """A share of one, and the time that went by."""
    from rich.progress import TimeElapsedColumn

    with _shown((TimeElapsedColumn(),)) as bars:
        yield Bar(bars, words, 1.0)


@contextmanager
def _shown(columns: tuple[ProgressColumn, ...]) -> Iterator[Bars]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True, no_color=not has_colour(sys.stderr))
    words = TextColumn("{task.description}", markup=False)
    with Progress(words, BarColumn(), *columns, console=console, transient=True) as bars:
        yield bars
