"""What we pulled ourselves: one JSON file in the data folder, with the hashes that pin each model.

The files themselves lie in the hubs' caches. Losing this file loses no model: what is in the
caches is found without it, only the pinned commit and the hashes of plain files are forgotten.
So whatever is wrong with it, the house starts: entries that make no sense are left out, and a
file that is no JSON is put aside under another name.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codehearth.errors import DiskFull
from codehearth.models.catalogue import Format
from codehearth.models.names import Hub, is_safe_file_path, is_safe_repository
from codehearth.models.whole_file import write_whole

_VERSION = 1
_MAX_BYTES = 16 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RecordedFile:
    """A file below the model's folder, with the hash that it had when it arrived."""

    path: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Recorded:
    """One pulled model. `main` is the file that engines open, '' for the folder."""

    name: str
    hub: Hub
    repo: str
    revision: str
    commit: str
    format: Format
    precision: str | None
    folder: str
    main: str
    files: tuple[RecordedFile, ...]
    created_at: int


class Records:
    """The record file at `path`. Every call reads or writes the file: other processes do too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> tuple[Recorded, ...]:
        return tuple(self._read().values())

    def get(self, name: str) -> Recorded | None:
        return self._read().get(name)

    def put(self, recorded: Recorded) -> None:
        """Adds or replaces the entry of that name; raises DiskFull."""
        with self._locked():
            entries = self._read()
            self._write({**entries, recorded.name: recorded})

    def drop(self, name: str) -> None:
        with self._locked():
            entries = self._read()
            if entries.pop(name, None) is not None:
                self._write(entries)

    def _read(self) -> dict[str, Recorded]:
        try:
            if self.path.stat().st_size > _MAX_BYTES:
                raise ValueError("too large")
            table = json.loads(self.path.read_bytes())
            models = table["models"]
            entries = [_entry(model) for model in models if isinstance(model, dict)]
        except FileNotFoundError:
            return {}
        except OSError:
            return {}
        except (ValueError, KeyError, TypeError, RecursionError):
            self._put_aside()
            return {}
        return {entry.name: entry for entry in entries if entry is not None}

    def _write(self, entries: Mapping[str, Recorded]) -> None:
        table = {"version": _VERSION, "models": [asdict(entry) for entry in entries.values()]}
        write_whole(self.path, json.dumps(table, indent=1))

    def _put_aside(self) -> None:
        try:
            self.path.replace(self.path.with_name(f"{self.path.name}.damaged"))
        except OSError:
            return

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, over all processes of this data folder; raises DiskFull."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_name(f"{self.path.name}.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise DiskFull(
                f"The record of models cannot be written ({error.strerror}).",
                hint="the model itself is in the hub's cache; free some space and pull again",
            ) from error


def _entry(table: Mapping[str, Any]) -> Recorded | None:
    """An entry as it was written, or None for one that is not sound in every field."""
    try:
        files = tuple(
            RecordedFile(file["path"], file["num_bytes"], file["sha256"]) for file in table["files"]
        )
        entry = Recorded(**{**table, "files": files})
    except (KeyError, TypeError):
        return None
    texts = (entry.name, entry.revision, entry.commit, entry.folder, entry.main, entry.repo)
    is_sound = (
        all(isinstance(text, str) and text.isprintable() for text in texts)
        and entry.hub in ("huggingface", "modelscope")
        and entry.format in ("gguf", "safetensors")
        and (entry.precision is None or isinstance(entry.precision, str))
        and isinstance(entry.created_at, int)
        and is_safe_repository(entry.repo)
        and Path(entry.folder).is_absolute()
        and (entry.main == "" or is_safe_file_path(entry.main))
        and len(files) > 0
        and all(_is_sound_file(file) for file in files)
    )
    return entry if is_sound else None


def _is_sound_file(file: RecordedFile) -> bool:
    return (
        isinstance(file.path, str)
        and is_safe_file_path(file.path)
        and isinstance(file.num_bytes, int)
        and file.num_bytes >= 0
        and isinstance(file.sha256, str)
        and _SHA256.fullmatch(file.sha256) is not None
    )
