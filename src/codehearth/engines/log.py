"""What a child wrote: a bounded tail in memory and a file that starts over when it is long.

Losing the file (full disk, no permission) never disturbs serving; the tail in memory goes on.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from pathlib import Path
from typing import BinaryIO

_MAX_LINES = 200
_MAX_LINE_BYTES = 2000
_MAX_FILE_BYTES = 4 << 20


class ChildLog:
    """Takes what a child writes, in any pieces, and remembers its last lines."""

    def __init__(self, path: Path | None = None, *, max_file_bytes: int = _MAX_FILE_BYTES) -> None:
        self._path = path
        self._max_file_bytes = max_file_bytes
        self._file: BinaryIO | None = None
        self._file_bytes = 0
        self._lines: deque[bytes] = deque(maxlen=_MAX_LINES)
        self._unfinished = b""
        self.num_bytes = 0

    def write(self, data: bytes) -> None:
        self.num_bytes += len(data)
        *finished, rest = (self._unfinished + data).split(b"\n")
        self._lines.extend(line[:_MAX_LINE_BYTES] for line in finished[-_MAX_LINES:])
        self._unfinished = rest[:_MAX_LINE_BYTES]
        if self._path is not None:
            self._append(self._path, data)

    def tail(self, num_lines: int = 40) -> str:
        """The last lines, oldest first, whatever bytes the child wrote."""
        lines = [*self._lines, self._unfinished] if self._unfinished else list(self._lines)
        return b"\n".join(lines[-num_lines:]).decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _append(self, path: Path, data: bytes) -> None:
        try:
            if self._file is not None and self._file_bytes > self._max_file_bytes:
                self.close()
                path.replace(path.with_name(path.name + ".1"))
            if self._file is None:
                self._file = _open_private(path)
                self._file_bytes = path.stat().st_size
            self._file.write(data)
            self._file_bytes += len(data)
        except OSError:
            self.close()


def _open_private(path: Path) -> BinaryIO:
    """Unbuffered and for this user alone: a log may name paths."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "ab", buffering=0)
