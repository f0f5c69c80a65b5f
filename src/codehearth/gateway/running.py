"""How the command line finds the running server: a lock and a small file in the data folder.

The file holds the address and the operator's token of this start; only the user can read it. The
lock is held as long as the server lives, however it ends, so a file that was left behind is known
to be stale.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from codehearth.errors import BadSetting

_LOCK = "server.lock"
_FILE = "server.json"


@dataclass(frozen=True)
class Running:
    """A server that lives: where it is and how the operator's command line opens its door."""

    url: str
    pid: int
    token: str


@contextmanager
def only_server(data_folder: Path) -> Iterator[None]:
    """Holds the data folder; raises BadSetting where another server holds it."""
    data_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(data_folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        if not _take(lock):
            other = _read(data_folder)
            where = f" at {other.url} (process {other.pid})" if other else ""
            raise BadSetting(
                f"A server already runs{where} on this data folder.",
                hint="`hearth ps` shows it; for a second one, name another folder by HEARTH_DATA",
            )
        (data_folder / _FILE).unlink(missing_ok=True)  # of a server that was killed
        yield
    finally:
        os.close(lock)


def _take(lock: int) -> bool:
    """Whether the lock could be had; asks a few times, as `find_running` holds it for a moment."""
    for _ in range(10):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.05)
    return False


@contextmanager
def announced(data_folder: Path, url: str, token: str) -> Iterator[Running]:
    """Writes the file for the command line, and removes it at the end."""
    running = Running(url=url, pid=os.getpid(), token=token)
    path = data_folder / _FILE
    fresh = path.with_suffix(f".{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(running), file)
    fresh.replace(path)
    try:
        yield running
    finally:
        path.unlink(missing_ok=True)


def find_running(data_folder: Path) -> Running | None:
    """The server that holds the data folder, None where none does."""
    with suppress(OSError):
        lock = os.open(data_folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(data_folder)
        finally:
            os.close(lock)
    return None


def _read(data_folder: Path) -> Running | None:
    try:
        return Running(**json.loads((data_folder / _FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
