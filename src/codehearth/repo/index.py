"""The index of one folder: chunks of its files in an SQLite file with a full-text table.

What is read again is what changed: a file whose size or time of change is another one. Searching
while the index is refreshed sees the state before. A file of an older release, or a damaged one,
is made anew from its folder.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from codehearth.errors import DiskFull, RecordsUnavailable
from codehearth.repo.context import Found
from codehearth.repo.files import files_of, git, read_text
from codehearth.repo.query import expression
from codehearth.text.chunks import chunks
from codehearth.text.languages import language_of_file

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 400_000
_MAX_LINE = 2000  # characters: longer ones are made by programs
_VERSION = 1
_BUSY_S = 10.0
_FILES_AT_ONCE = 200
_WEIGHTS = (2.0, 6.0, 1.0)  # of path, names and text

_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL)
    STRICT;
CREATE TABLE chunks (
    number INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    names TEXT NOT NULL,
    text TEXT NOT NULL,
    first_line INTEGER NOT NULL,
    last_line INTEGER NOT NULL
) STRICT;
CREATE INDEX chunks_of ON chunks (path);
CREATE VIRTUAL TABLE words USING fts5 (
    path, names, text, content = 'chunks', content_rowid = 'number', tokenize = 'trigram'
);
CREATE TRIGGER chunk_came AFTER INSERT ON chunks BEGIN
    INSERT INTO words (rowid, path, names, text)
    VALUES (new.number, new.path, new.names, new.text);
END;
CREATE TRIGGER chunk_went AFTER DELETE ON chunks BEGIN
    INSERT INTO words (words, rowid, path, names, text)
    VALUES ('delete', old.number, old.path, old.names, old.text);
END;
"""

_SEARCH = f"""
SELECT chunks.path, first_line, last_line, chunks.text, -bm25(words, {_WEIGHTS[0]}, {_WEIGHTS[1]},
    {_WEIGHTS[2]}) AS score
FROM words JOIN chunks ON chunks.number = words.rowid
WHERE words MATCH ? AND chunks.path != ?
ORDER BY score DESC LIMIT ?
"""  # noqa: S608 - three numbers


@dataclass(frozen=True)
class Facts:
    """What an index holds; `indexed_at` in seconds since 1970."""

    root: Path
    git_urls: tuple[str, ...]
    num_files: int
    num_chunks: int
    indexed_at: float


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did."""

    num_files: int
    num_read: int
    num_gone: int


class Index:
    """One repository's index; connections are opened for each use, from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, root: Path) -> Index:
        """A new, empty index; replaces one that is there."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.touch(mode=0o600)
        index = cls(path)
        with index._open() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_TABLES)
            _set(connection, "root", str(root))
            connection.execute(f"PRAGMA user_version = {_VERSION}")  # from here on it is usable
        return index

    def is_usable(self) -> bool:
        """Whether this release can read it."""
        try:
            with closing(sqlite3.connect(self.path, timeout=_BUSY_S)) as connection:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                connection.execute("SELECT 1 FROM words LIMIT 1").fetchone()
        except sqlite3.DatabaseError:
            return False
        return bool(version == _VERSION)

    def stamp(self) -> tuple[int, int]:
        """Another one after whatever was written, by whichever process."""
        try:
            log = self.path.with_name(self.path.name + "-wal").stat().st_size
        except OSError:
            log = 0
        try:
            return self.path.stat().st_mtime_ns, log
        except OSError:
            return 0, 0

    def facts(self) -> Facts:
        with self._open() as connection:
            about = dict(connection.execute("SELECT name, value FROM about"))
            (num_files,) = connection.execute("SELECT count(*) FROM files").fetchone()
            (num_chunks,) = connection.execute("SELECT count(*) FROM chunks").fetchone()
        return Facts(
            root=Path(about["root"]),
            git_urls=tuple(about.get("git_urls", "").split()),
            num_files=num_files,
            num_chunks=num_chunks,
            indexed_at=float(about.get("indexed_at", "0")),
        )

    def refresh(self, *, tell: Callable[[int, int], None] | None = None) -> Refreshed:
        """Reads what changed; `tell` gets how many files of how many are looked at.

        A folder that is not there, or cannot be read now, leaves the index as it is.
        """
        root = self.facts().root
        if not root.is_dir():
            raise RecordsUnavailable(
                f"The folder {root} is not there any more.", hint="`hearth repo rm` forgets it"
            )
        now = _state_of(root, files_of(root))
        with self._open() as connection:
            known = {
                path: (size, modified)
                for path, size, modified in connection.execute("SELECT * FROM files")
            }
        gone = [path for path in known if path not in now]
        changed = [path for path, state in now.items() if known.get(path) != state]
        self._forget(gone)
        for start in range(0, len(changed), _FILES_AT_ONCE):
            self._read(root, changed[start : start + _FILES_AT_ONCE], now)
            if tell is not None:
                tell(min(start + _FILES_AT_ONCE, len(changed)), len(changed))
        with self._open() as connection, _written(connection):
            urls = git(root, "config", "--get-regexp", r"^remote\..*\.url$") or ""
            _set(
                connection,
                "git_urls",
                "\n".join(sorted({u.split()[-1] for u in urls.split("\n") if u})),
            )
            _set(connection, "indexed_at", str(time.time()))
        return Refreshed(len(now), len(changed), len(gone))

    def search(self, terms: Sequence[str], *, limit: int, without: str = "") -> list[Found]:
        """Chunks that hold any of the terms, best first; none of the file `without`."""
        if not terms:
            return []
        with self._open() as connection:
            rows = connection.execute(_SEARCH, (expression(terms), without, limit))
            return [Found(*row) for row in rows]

    def _read(self, root: Path, paths: Sequence[str], now: dict[str, tuple[int, int]]) -> None:
        read = [(path, tuple(_rows(root, path))) for path in paths]
        with self._open() as connection, _written(connection):
            for path, rows in read:
                connection.execute("DELETE FROM chunks WHERE path = ?", (path,))
                connection.executemany(
                    "INSERT INTO chunks (path, names, text, first_line, last_line)"
                    " VALUES (?, ?, ?, ?, ?)",
                    rows,
                )
                connection.execute(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (path, *now[path])
                )

    def _forget(self, paths: Sequence[str]) -> None:
        with self._open() as connection, _written(connection):
            for path in paths:
                connection.execute("DELETE FROM chunks WHERE path = ?", (path,))
                connection.execute("DELETE FROM files WHERE path = ?", (path,))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection; SQLite's faults become the house's errors."""
        try:
            with closing(
                sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
            ) as connection:
                yield connection
        except sqlite3.Error as error:
            log.warning("the index %s: %s", self.path.name, error)
            if "full" in str(error):
                raise DiskFull("The disk is full: the repository could not be indexed.") from error
            raise RecordsUnavailable(
                f"The index of '{self.path.stem}' cannot be read or written now.",
                hint="`hearth repo add` on its folder makes it anew",
            ) from error


def _git_urls(root: Path) -> list[str]:
    told = git(root, "config", "--get-regexp", r"^remote\..*\.url$") or ""
    return sorted({line.split()[-1] for line in told.split("\n") if line})


def _state_of(root: Path, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file that is there."""
    found = {}
    for name in names:
        try:
            facts = (root / name).lstat()
        except OSError:
            continue
        found[name] = (facts.st_size, facts.st_mtime_ns)
    return found


def _rows(root: Path, path: str) -> Iterator[tuple[str, str, str, int, int]]:
    text = read_text(root, path, max_bytes=MAX_FILE_BYTES)
    if text is None or max(map(len, text.split("\n"))) > _MAX_LINE:
        return
    for chunk in chunks(text, language_of_file(path, text=text)):
        yield path, " ".join(chunk.names), chunk.text, chunk.first_line, chunk.last_line


@contextmanager
def _written(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _set(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))
