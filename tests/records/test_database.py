"""The file of the records: shared by connections and processes, and moved on by each release."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from codehearth.errors import RecordsUnavailable
from codehearth.records.conversations import Conversations
from codehearth.records.database import FILE_NAME, open_database, transaction
from codehearth.records.keys import Keys
from codehearth.records.migrations import MIGRATIONS
from codehearth.records.talk import NewMessage

READ = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(*c.execute(sys.argv[2]))"


def read_elsewhere(path: Path, query: str) -> str:
    """What another process sees, which then closes the file."""
    done = subprocess.run(
        [sys.executable, "-c", READ + "; c.close()", str(path), query],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_program_that_looks_and_leaves_takes_nothing_away(tmp_path: Path) -> None:
    """Opening a second connection opened and closed the file itself, which dropped the locks of
    the first. Another program that closed the file then believed to be the last one and removed
    the log that the server went on writing to: what was written later was lost."""
    path, query = tmp_path / FILE_NAME, "SELECT count(*) FROM conversations"
    with closing(Keys(tmp_path)), closing(open_database(tmp_path)) as connection:
        tables = Conversations(connection)
        tables.create("ada", {})
        assert read_elsewhere(path, query) == "(1,)"

        tables.create("ada", {})

        assert read_elsewhere(path, query) == "(2,)"


def test_what_is_begun_together_is_kept_together_or_not_at_all(tmp_path: Path) -> None:
    with closing(open_database(tmp_path)) as connection:
        tables = Conversations(connection)

        with pytest.raises(KeyError), tables.together():
            tables.create("ada", {})
            raise KeyError

        assert tables.page("ada", limit=10) == ()


def test_a_file_that_another_program_holds_is_told_and_not_waited_for(tmp_path: Path) -> None:
    with (
        closing(open_database(tmp_path, busy_s=0.05)) as connection,
        closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(RecordsUnavailable, match="Another program"):
            Conversations(connection).create("ada", {})

        assert Conversations(connection).page("ada", limit=10) == ()


def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path) -> None:
    """SQLite's own limit of pages stands for the disk: the fault is the same one."""
    with closing(open_database(tmp_path)) as connection:
        tables = Conversations(connection)
        kept = tables.create("ada", {"title": "kept"})
        (num_pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {num_pages + 2}")

        with pytest.raises(RecordsUnavailable, match="disk is full"):
            tables.create("ada", {"system_prompt": "x" * 100_000})

        assert tables.page("ada", limit=10) == (kept,)
        connection.execute(f"PRAGMA max_page_count = {num_pages + 1000}")
        assert tables.create("ada", {"system_prompt": "x" * 100_000})


@pytest.mark.parametrize("num_free_pages", range(0, 40, 3))
def test_wherever_the_disk_is_full_what_was_told_to_be_kept_is_there(
    tmp_path: Path, num_free_pages: int
) -> None:
    with closing(open_database(tmp_path)) as connection:
        tables = Conversations(connection)
        id = tables.create("ada", {}).id
        (num_pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {num_pages + num_free_pages}")
        kept: list[str] = []
        with suppress(RecordsUnavailable):
            for number in range(100):
                text = f"message {number} " * 200
                tables.append("ada", id, [NewMessage("user", text)], parent_id=None)
                kept.append(text)
        assert len(kept) < 100

    with closing(open_database(tmp_path)) as connection:
        tables = Conversations(connection)
        assert [one.content for one in tables.messages("ada", id)] == kept
        found = tables.search("ada", "message", limit=10)
        assert len(found) == (1 if kept else 0)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_keys_of_an_older_release_keep_their_rights(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as old:
        MIGRATIONS[0](old)
        for name, role in (("ada", "admin"), ("bob", "user")):
            old.execute(
                "INSERT INTO keys (name, role, digest, created_at) VALUES (?, ?, ?, 1)",
                (name, role, name.encode()),
            )
        old.execute("PRAGMA user_version = 1")
        old.commit()

    with closing(Keys(tmp_path)) as keys:
        assert [(key.name, key.role) for key in keys.all()] == [("ada", "admin"), ("bob", "chat")]


def test_programs_that_start_at_once_move_the_file_on_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        opened = [threads.submit(open_database, tmp_path) for _ in range(8)]
    for one in opened:
        one.result().close()

    with closing(open_database(tmp_path)) as connection, transaction(connection):
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
