"""What limits of single processes do not bound: the memory of all together, and the disk."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from codehearth.lab.sandbox.program import Ending, Limits


@dataclass(frozen=True)
class Watch:
    """Over the descendants of `pid` and the files in `folder`."""

    pid: int
    folder: Path
    limits: Limits

    def exceeded(self) -> Ending | None:
        if self._memory_bytes() > self.limits.memory_bytes:
            return "memory"
        if self._disk_bytes() > self.limits.disk_bytes:
            return "disk"
        return None

    def _memory_bytes(self) -> int:
        total = 0
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    memory = process.memory_info()
                    total += memory.rss
        return total

    def _disk_bytes(self) -> int:
        """Of the folder on the host; bubblewrap's is in memory and bounded by itself."""
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(Path(folder) / name).st_blocks * 512
        return total
