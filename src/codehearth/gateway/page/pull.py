"""One download of the page: how far it is, as the API shows it. Who runs it is `downloads`'."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from codehearth.models.progress import Progress

State = Literal["queued", "downloading", "pausing", "paused", "done", "failed", "cancelled"]

_MAX_NOTES = 20
_ACTIVE = ("queued", "downloading", "pausing")


@dataclass
class FilePull:
    """One file; `total_bytes` is known when it is whole."""

    name: str
    done_bytes: int = 0
    total_bytes: int | None = None


@dataclass
class Pull:
    """One download, as the API shows it. Written by its thread, read by the loop."""

    model: str
    id: str = field(default_factory=lambda: f"p_{secrets.token_hex(8)}")
    state: State = "queued"
    stage: str = "plan"
    file: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    bytes_per_s: float = 0.0
    left_s: float | None = None
    files: list[FilePull] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    name: str | None = None
    error: dict[str, Any] | None = None
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)

    @property
    def is_active(self) -> bool:
        """Whether it runs, or waits to."""
        return self.state in _ACTIVE

    @property
    def is_over(self) -> bool:
        return not self.is_active and self.state != "paused"

    def report(self, progress: Progress) -> None:
        self.updated_at = time.time()
        if progress.note:
            self.notes = [*self.notes, progress.note][-_MAX_NOTES:]
        self.stage = progress.stage
        if progress.stage == "plan":
            self.total_bytes = progress.total_bytes or self.total_bytes
            return
        self.done_bytes, self.total_bytes = progress.done_bytes, progress.total_bytes
        self.bytes_per_s, self.left_s = progress.bytes_per_s, progress.left_s
        if progress.file:
            self._report_file(progress)

    def _report_file(self, progress: Progress) -> None:
        """Progress counts over all files, so a file's own bytes are what is beyond the others."""
        if progress.file != self.file:
            if self.files and self.files[-1].total_bytes is None:
                self.files[-1].total_bytes = self.files[-1].done_bytes
            self.file = progress.file
            self.files = [one for one in self.files if one.name != progress.file]
            self.files.append(FilePull(progress.file))
        others = sum(one.done_bytes for one in self.files[:-1])
        self.files[-1].done_bytes = max(0, progress.done_bytes - others)

    def begin_again(self) -> None:
        """A resumed pull looks at all files anew."""
        self.state, self.stage, self.file, self.files = "queued", "plan", "", []
        self.error, self.bytes_per_s, self.left_s = None, 0.0, None
