"""The one SQLite file: connection, migrations, and what happens when it is damaged.

A damaged file is put aside (`records.sqlite.damaged-…`) and a new one begun, so that the server
starts. The new file then says that keys are required: whoever damages the records does not open
the door. The guard is a file beside the database, because the database is what may be lost.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from codehearth.errors import HearthError

log = logging.getLogger(__name__)

Migration = Callable[[sqlite3.Connection], None]

FILE_NAME = "records.sqlite"
KEYS_GUARD = "keys-required"
_BUSY_S = 10.0


def open_database(data_folder: Path) -> sqlite3.Connection:
    """A connection to the records, migrated to this release; quarantines a damaged file.

    Raises HearthError where the folder cannot be written.
    """
    path = data_folder / FILE_NAME
    try:
        data_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _open(path)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise _cannot_open(path, error) from error
        _quarantine(path, error)
        try:
            return _open(path)
        except sqlite3.Error as second:
            raise _cannot_open(path, second) from second
    except OSError as error:
        raise _cannot_open(path, error) from error


def _open(path: Path) -> sqlite3.Connection:
    _create_private(path)
    connection = sqlite3.connect(
        path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
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
    """The file is made by us with mode 0600 before SQLite could make it with a wider one."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    os.close(descriptor)


def _check_whole(connection: sqlite3.Connection) -> None:
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise sqlite3.DatabaseError(f"database disk image is malformed: {answer}")


def _migrate(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            migration(connection)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


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


def _create_keys(connection: sqlite3.Connection) -> None:
    connection.execute(
        """
        CREATE TABLE keys (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('user', 'admin')),
            digest BLOB NOT NULL UNIQUE,
            created_at REAL NOT NULL,
            revoked_at REAL
        ) STRICT
        """
    )


MIGRATIONS: tuple[Migration, ...] = (_create_keys,)
