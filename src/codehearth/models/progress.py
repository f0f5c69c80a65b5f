"""How far a download is, how fast it goes and how long it will take; pure but for its clock."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["plan", "download", "verify", "done"]

# The speed that is shown is that of the last seconds.
_WINDOW_S = 5.0

# A report is made after this time, or when this share of the whole has come.
_INTERVAL_S = 0.1
_SHARE = 0.005


@dataclass(frozen=True)
class Progress:
    """One report. Bytes are counted over all files of the model.

    `left_s` is None while no speed is known. `note` tells a choice that was made, once, with its
    reason: a precision, a hub, a commit.
    """

    stage: Stage
    file: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    bytes_per_s: float = 0.0
    left_s: float | None = None
    note: str | None = None


ProgressCallback = Callable[[Progress], None]


class Meter:
    """Turns "so many bytes of this file" into reports, ten a second or one each half percent."""

    def __init__(
        self,
        callback: ProgressCallback,
        total_bytes: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._callback = callback
        self._clock = clock
        self.total_bytes = total_bytes
        self._finished_bytes = 0
        self._file = ""
        self._samples: deque[tuple[float, int]] = deque()
        self._reported_at: float | None = None
        self._reported_bytes = 0
        self._stage: Stage = "plan"

    def begin(self, file: str) -> None:
        self._file = file
        self._samples.clear()
        self._reported_at = None

    def at(self, stage: Literal["download", "verify"], file_bytes: int) -> None:
        """`file_bytes` of the current file are fetched, or checked."""
        now = self._clock()
        if stage != self._stage or (self._samples and file_bytes < self._samples[-1][1]):
            # Another activity, or a new beginning: the old speed says nothing about it.
            self._samples.clear()
            self._reported_at = None
            self._stage = stage
        self._samples.append((now, file_bytes))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW_S:
            self._samples.popleft()
        if (
            self._reported_at is None
            or now - self._reported_at >= _INTERVAL_S
            or file_bytes - self._reported_bytes >= _SHARE * self.total_bytes
        ):
            self._reported_at, self._reported_bytes = now, file_bytes
            self._report(stage, file_bytes)

    def finish(self, file_bytes: int) -> None:
        """The current file is whole."""
        if self._stage in ("download", "verify"):
            self._report(self._stage, file_bytes)
        self._finished_bytes += file_bytes

    def note(self, text: str) -> None:
        self._callback(Progress("plan", total_bytes=self.total_bytes, note=text))

    def done(self) -> None:
        self._callback(Progress("done", "", self.total_bytes, self.total_bytes))

    def _report(self, stage: Stage, file_bytes: int) -> None:
        speed = self._bytes_per_s()
        done = min(self._finished_bytes + file_bytes, self.total_bytes)
        left = self.total_bytes - done
        self._callback(
            Progress(
                stage,
                self._file,
                done,
                self.total_bytes,
                speed,
                left / speed if speed > 0 and stage == "download" else None,
            )
        )

    def _bytes_per_s(self) -> float:
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        elapsed = last_at - first_at
        return (last - first) / elapsed if elapsed > 0 else 0.0
