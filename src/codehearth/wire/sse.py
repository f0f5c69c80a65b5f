"""The frames of a server-sent event stream: bytes to events and back.

The reader accepts what servers really send: any cut between reads, `\\n`, `\\r\\n` or `\\r` as line
ends, comments, several data lines. It follows the WHATWG's description of `text/event-stream`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from codehearth.errors import UpstreamFailed

DONE = b"data: [DONE]\n\n"
MAX_EVENT_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name (empty for plain data) and its data, still undecoded."""

    name: str
    data: bytes


def frame(data: bytes, *, name: str = "") -> bytes:
    """One event as it is sent; `data` must hold no line end (compact JSON never does)."""
    if name:
        return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"


@dataclass
class EventReader:
    """Puts the pieces of a stream together; `feed` yields the events that became complete."""

    _rest: bytes = b""
    _name: str = ""
    _data: list[bytes] = field(default_factory=list)
    _num_bytes: int = 0

    @property
    def is_between_events(self) -> bool:
        """Whether nothing of an event that is not complete has come."""
        return not (self._rest or self._data or self._name)

    def feed(self, piece: bytes) -> Iterator[Event]:
        buffer = self._rest + piece if self._rest else piece
        if b"\r" in buffer:
            buffer, held = _unify_line_ends(buffer)
        else:
            held = b""
        *lines, rest = buffer.split(b"\n")
        self._rest = rest + held
        if len(self._rest) > MAX_EVENT_BYTES:
            raise UpstreamFailed("The engine sent an event that does not end.")
        for line in lines:
            if line:
                self._take(line)
            elif self._data:
                yield self._finish()
            else:
                self._name = ""

    def _take(self, line: bytes) -> None:
        key, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if key == b"data":
            self._num_bytes += len(value)
            if self._num_bytes > MAX_EVENT_BYTES:
                raise UpstreamFailed("The engine sent an event that does not end.")
            self._data.append(value)
        elif key == b"event":
            self._name = value.decode("utf-8", "replace")
        elif key == b"error":  # not in the standard: how older llama-servers tell a failure
            self._name = "error"
            self._data.append(value)

    def _finish(self) -> Event:
        event = Event(self._name, b"\n".join(self._data))
        self._name, self._num_bytes = "", 0
        self._data = []
        return event


def _unify_line_ends(buffer: bytes) -> tuple[bytes, bytes]:
    """All line ends as `\\n`; a `\\r` at the very end is held back, as a `\\n` may follow."""
    held = b"\r" if buffer.endswith(b"\r") else b""
    whole = buffer[: len(buffer) - len(held)]
    return whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), held
