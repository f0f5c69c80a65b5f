"""One clock for all streams that are faster than anybody can see.

A stream that sends hundreds of chunks a second would wake the gateway for each of them, and on a
small machine what that costs is taken from the engine. So fast streams are not listened to: once
a frame the clock looks at all of them in one go. Only their end is not waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from typing import Protocol

FRAME_S = 0.04
"""25 frames a second: who reads along sees no step, and a frame of a fast stream holds enough
chunks to share what waking up costs (some 0.4 ms on a small virtual machine)."""


class FramedStream(Protocol):
    """What the clock needs of a stream."""

    def fileno(self) -> int: ...

    def read_frame(self) -> None:
        """Read what has arrived, and leave the clock where it is no longer wanted."""
        ...


class Frames:
    """Has each of its streams read once a frame, and at once when the other side ended it.

    Linux can wait for the end of a connection without waiting for its data. Elsewhere the end
    waits for its frame.
    """

    def __init__(self, *, frame_s: float = FRAME_S) -> None:
        self._frame_s = frame_s
        self._streams: dict[int, FramedStream] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._ends = select.epoll() if hasattr(select, "epoll") else None
        self._is_watching_ends = False

    def add(self, stream: FramedStream) -> None:
        loop = asyncio.get_running_loop()
        self._streams[stream.fileno()] = stream
        if self._ends is not None:
            self._ends.register(stream.fileno(), select.EPOLLRDHUP)
            if not self._is_watching_ends:
                self._is_watching_ends = True
                loop.add_reader(self._ends.fileno(), self._read_ended)
        if self._timer is None:
            self._timer = loop.call_later(self._frame_s, self._read_all)

    def remove(self, stream: FramedStream) -> None:
        """Must be called before the stream's connection is closed."""
        if self._streams.pop(stream.fileno(), None) is not None:
            self._forget_end(stream.fileno())

    def _read_all(self) -> None:
        self._timer = None
        for stream in tuple(self._streams.values()):
            stream.read_frame()
        if self._streams:
            self._timer = asyncio.get_running_loop().call_later(self._frame_s, self._read_all)
        elif self._ends is not None:
            self._is_watching_ends = False
            asyncio.get_running_loop().remove_reader(self._ends.fileno())

    def _read_ended(self) -> None:
        assert self._ends is not None
        for number, _ in self._ends.poll(0):
            self._forget_end(number)  # else it would be told again until the last byte is read
            if number in self._streams:
                self._streams[number].read_frame()

    def _forget_end(self, number: int) -> None:
        if self._ends is not None:
            with contextlib.suppress(OSError):  # it was forgotten before
                self._ends.unregister(number)
