"""The one SQLite file: connection, migrations, and what happens when it is damaged.

A damaged file is put aside (`records.sqlite.damaged-…`) and a new one begun, so that the server
starts. The new file then says that keys are required: whoever damages the records does not open
the door. The guard is a file beside the database, because the database is what may be lost.
The tables themselves stand in `migrations`.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from codehearth.errors import HearthError, RecordsUnavailable
from codehearth.records.migrations import MIGRATIONS

log = logging.getLogger(__name__)

FILE_NAME = "records.sqlite"
KEYS_GUARD = "keys-required"
_BUSY_S = 10.0


def open_database(data_folder: Path, *, busy_s: float = _BUSY_S) -> sqlite3.Connection:
    """A connection to the records, migrated to this release; quarantines a damaged file.

    `busy_s` is how long a write waits for another's. Raises HearthError where the folder cannot
    be written.
    """
    path = data_folder / FILE_NAME
    try:
        data_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _open(path, busy_s)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise _cannot_open(path, error) from error
        _quarantine(path, error)
        try:
            return _open(path, busy_s)
        except sqlite3.Error as second:
            raise _cannot_open(path, second) from second
    except OSError as error:
        raise _cannot_open(path, error) from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All that is written in the block, or nothing; SQLite's faults become RecordsUnavailable.

    The write lock is taken at once, so that what was read in the block still holds at its end.
    A block within another is a part of it.
    """
    if connection.in_transaction:
        yield connection
        return
    with translated():
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk may have ended it already
                connection.execute("ROLLBACK")
            raise


@contextmanager
def translated() -> Iterator[None]:
    """SQLite's faults as RecordsUnavailable: for what only reads."""
    try:
        yield
    except sqlite3.Error as error:
        log.warning("the records: %s (%s)", error, getattr(error, "sqlite_errorname", "?"))
        raise RecordsUnavailable(_why(error), hint="try again in a moment") from error


def _why(error: sqlite3.Error) -> str:
    if "locked" in str(error) or "busy" in str(error):
        return "Another program holds the records."
    if "full" in str(error):
        return "The disk is full, so nothing can be recorded."
    return "The records cannot be read or written now."


def _open(path: Path, busy_s: float) -> sqlite3.Connection:
    _create_private(path)
    connection = sqlite3.connect(
        path, timeout=busy_s, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        _check_whole(connection)
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _create_private(path: Path) -> None:
    """The file is made by us with mode 0600 before SQLite could make it with a wider one.

    A file that is there is not opened: closing it would drop the locks that other connections of
    this process hold on it (POSIX), and the next program that leaves would then take the log of
    what was written last away from under them.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _check_whole(connection: sqlite3.Connection) -> None:
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise sqlite3.DatabaseError(f"database disk image is malformed: {answer}")


def _migrate(connection: sqlite3.Connection) -> None:
    """One transaction a step. Another process may be at it, too: the step is looked up inside."""
    while _version(connection) < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = _version(connection)
            if version < len(MIGRATIONS):
                MIGRATIONS[version](connection)
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Damage is what a new file mends; a locked or unreachable file is not damaged."""
    return not isinstance(error, sqlite3.OperationalError) or "malformed" in str(error)


def _quarantine(path: Path, error: Exception) -> None:
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    (path.parent / KEYS_GUARD).touch(mode=0o600)
    path.rename(aside)
    for side_file in ("-wal", "-shm"):
        path.with_name(path.name + side_file).unlink(missing_ok=True)
    log.error("the records were damaged (%s) and put aside as %s", error, aside.name)


def _cannot_open(path: Path, error: Exception) -> HearthError:
    return HearthError(
        f"The records in {path.parent} cannot be opened: {error}.",
        hint="check that the folder can be written and the disk is not full, or name another "
        "with HEARTH_DATA",
    )
