"""A place in a binary file that only moves forward and never past the end.

Reads through a window of its own rather than a memory map: a file that shrinks under a map kills
the process with SIGBUS, and a file that is being downloaded does change.
"""

from __future__ import annotations

import os
import struct
from io import FileIO

from codehearth.errors import BadWeights

WINDOW_BYTES = 1 << 18
MAX_TAKE_BYTES = 1 << 24

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Cursor:
    def __init__(self, file: FileIO, file_name: str) -> None:
        self.file = file
        self.file_name = file_name
        self.file_bytes = os.fstat(file.fileno()).st_size
        self._window = b""
        self._window_start = 0
        self._offset = 0

    @property
    def position(self) -> int:
        return self._window_start + self._offset

    def take(self, num_bytes: int) -> bytes:
        """The next bytes; raises BadWeights where the file ends before."""
        self._check(num_bytes)
        if num_bytes > MAX_TAKE_BYTES:
            raise BadWeights(f"'{self.file_name}' asks for {num_bytes} bytes at once.")
        if self._offset + num_bytes > len(self._window):
            self._refill(max(num_bytes, WINDOW_BYTES))
            if num_bytes > len(self._window):
                raise self._ends_early()
        content = self._window[self._offset : self._offset + num_bytes]
        self._offset += num_bytes
        return content

    def skip(self, num_bytes: int) -> None:
        self._check(num_bytes)
        if self._offset + num_bytes <= len(self._window):
            self._offset += num_bytes
        else:
            self._window_start = self.position + num_bytes
            self._window, self._offset = b"", 0

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self.take(8))[0])

    def skip_strings(
        self, num_strings: int, wanted: frozenset[bytes] = frozenset()
    ) -> dict[bytes, int]:
        """Passes over strings with their lengths in front; returns the places of those `wanted`."""
        self._check(8 * num_strings)
        found: dict[bytes, int] = {}
        left = num_strings
        while left:
            left -= self._skip_within_window(left, num_strings - left, wanted, found)
            if left:
                # The next one goes past the window's end.
                num_bytes = self.u64()
                if num_bytes in {len(text) for text in wanted}:
                    text = self.take(num_bytes)
                    if text in wanted:
                        found.setdefault(text, num_strings - left)
                else:
                    self.skip(num_bytes)
                left -= 1
        return found

    def _skip_within_window(
        self, max_strings: int, first: int, wanted: frozenset[bytes], found: dict[bytes, int]
    ) -> int:
        """Passes over strings that end inside the window; returns how many.

        The hot loop of reading a header: real ones have 300,000 strings.
        """
        window, offset = self._window, self._offset
        lengths = {len(text) for text in wanted}
        last = len(window) - 8
        num_skipped = 0
        while num_skipped < max_strings and offset <= last:
            start = offset + 8
            num_bytes = _U64.unpack_from(window, offset)[0]
            end = start + num_bytes
            if end > len(window):
                break
            if num_bytes in lengths and window[start:end] in wanted:
                found.setdefault(window[start:end], first + num_skipped)
            offset = end
            num_skipped += 1
        self._offset = offset
        return num_skipped

    def _check(self, num_bytes: int) -> None:
        if self.position + num_bytes > self.file_bytes:
            raise self._ends_early()

    def _refill(self, num_bytes: int) -> None:
        start = self.position
        self.file.seek(start)
        content = bytearray()
        while len(content) < num_bytes:
            part = self.file.read(num_bytes - len(content))
            if not part:
                break
            content += part
        self._window, self._window_start, self._offset = bytes(content), start, 0

    def _ends_early(self) -> BadWeights:
        return BadWeights(
            f"'{self.file_name}' is damaged or cut off: its header goes past its end "
            f"({self.file_bytes} bytes).",
            hint="download the file again",
        )
