"""Where a child listens, and the few words that the house itself says to it.

A place is a Unix socket in a folder that only this user may enter, named afresh for each start
together with a random key. The gateway speaks to the same endpoint with a client of its own;
here is only what watching a child needs: one small GET.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

_PREFIX = "hearth-engine-"
_SOCKET_NAME = "e.sock"  # llama.cpp takes a host that ends in .sock for a Unix socket
# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing NUL included.
_MAX_SOCKET_PATH_BYTES = 100
_MAX_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True)
class Endpoint:
    """Where a child listens. With `socket_path`, the host in `base_url` means nothing."""

    socket_path: Path | None
    base_url: str
    api_key: str = field(repr=False)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


class Place:
    """A folder of mode 0700 with a short path, held as long as its child lives.

    The folder carries a lock that ends with this process, however it ends; so whoever comes next
    can tell a folder that was left behind from one in use, even across containers. (The cleaner
    of temporary folders on Linux leaves locked ones alone, too.)
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock
        self.endpoint = Endpoint(
            socket_path=folder / _SOCKET_NAME,
            base_url="http://engine",
            api_key=secrets.token_urlsafe(32),
        )

    @classmethod
    def make(cls, parent: Path | None = None) -> Place:
        """Make a place below `parent` (the system's temporary folder unless given).

        Raises OSError where no folder can be made.
        """
        root = _short_enough(parent or Path(tempfile.gettempdir()))
        _sweep(root)
        while True:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
            with contextlib.suppress(FileNotFoundError, BlockingIOError):
                return cls(folder, _lock(folder))
            # Another server took it for one that was left behind, before it was locked.

    def remove(self) -> None:
        """Remove the folder with all that is in it. May be called again."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _lock(folder: Path) -> int:
    """The open, locked folder. Raises BlockingIOError where it is locked, and OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino != folder.stat().st_ino:
            raise FileNotFoundError(folder)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _short_enough(parent: Path) -> Path:
    longest = parent / f"{_PREFIX}12345678" / _SOCKET_NAME
    fits = len(os.fsencode(longest)) <= _MAX_SOCKET_PATH_BYTES
    return parent if fits else Path("/tmp")  # noqa: S108 - the folder made below is 0700


def _sweep(root: Path) -> None:
    """Remove places that a killed server left behind.

    Those are folders of ours whose lock nobody holds and that hold nothing but a socket. They are
    emptied by name and never as a tree: the temporary folder belongs to others, too.
    """
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.getuid() and _is_place(folder):
                lock = _lock(folder)
                try:
                    (folder / _SOCKET_NAME).unlink(missing_ok=True)
                    folder.rmdir()
                finally:
                    os.close(lock)


def _is_place(folder: Path) -> bool:
    return {entry.name for entry in folder.iterdir()} <= {_SOCKET_NAME}


async def get(endpoint: Endpoint, path: str, *, timeout_s: float) -> Answer:
    """GET one small document from a child.

    Raises OSError (nobody listens, broken off, not HTTP) or TimeoutError.
    """
    async with asyncio.timeout(timeout_s):
        reader, writer = await _connect(endpoint)
        try:
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n"
                f"Authorization: Bearer {endpoint.api_key}\r\n\r\n".encode()
            )
            return _parse(await _read_all(reader))
        finally:
            writer.close()


async def _connect(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if endpoint.socket_path is not None:
        return await asyncio.open_unix_connection(str(endpoint.socket_path))
    host, _, port = endpoint.base_url.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    received = bytearray()
    while chunk := await reader.read(1 << 16):
        received += chunk
        if len(received) > _MAX_ANSWER_BYTES:
            raise OSError("the engine's answer is too long")
    return bytes(received)


def _parse(received: bytes) -> Answer:
    head, separator, body = received.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if not separator or len(words) < 2 or not words[1].isdigit():
        raise OSError("the engine did not answer in HTTP")
    return Answer(status=int(words[1]), body=body)
