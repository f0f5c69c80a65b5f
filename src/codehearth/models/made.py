"""Models that were made on this machine from others: quantised by the lab.

Each is a GGUF file with a record beside it, in one folder below the data folder. The record is
written last, so a file without one is unfinished and not found. A made model is named after the
model that it came from: `starter:q4_k_m`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codehearth.errors import DiskFull, HearthError, Overloaded
from codehearth.models.names import CatalogueName, HubName, parse_name
from codehearth.models.precisions import normalised
from codehearth.models.whole_file import write_whole

_MAX_RECORD_BYTES = 1 << 16
# What lies beside the place of a file that is being made.
UNFINISHED, JOURNAL, LOCK = ".unfinished", ".journal", ".lock"


@dataclass(frozen=True)
class MadeModel:
    """`base` is the name of the model it came from, without a precision; `row` the name of that
    model's row in the catalogue, where it has one. `identity` tells jobs apart."""

    base: str
    precision: str
    row: str | None = None
    num_bytes: int = 0
    sha256: str = ""
    identity: str = ""
    created_at: int = 0
    # The text (or the file) whose importance matrix it was made with: title and sha256.
    calibrated_on: str = ""

    @property
    def name(self) -> str:
        return f"{self.base}:{self.precision}"


class Made:
    """The folder of made models, read anew at every call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> tuple[MadeModel, ...]:
        return tuple(self._all(".gguf.json"))

    def get(self, text: str) -> MadeModel | None:
        """The made model of that name; the precision in any spelling."""
        wanted = _key(text)
        if wanted is None:
            return None
        # Most names that are asked for are not ours: only records of that precision are read.
        found = self._all(f"-{wanted[1]}.gguf.json")
        return next((model for model in found if _key(model.name) == wanted), None)

    def path_of(self, model: MadeModel) -> Path:
        """Where its file is or will be: its name, as far as a file's name can be that."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", model.base).strip("-.")[:80]
        if plain != model.base:
            plain += "-" + hashlib.sha256(model.base.encode()).hexdigest()[:8]
        return self.folder / f"{plain}-{model.precision}.gguf"

    def put(self, model: MadeModel, *, identity: str, sha256: str, num_bytes: int) -> MadeModel:
        """Writes the record of a file that is whole; raises DiskFull."""
        record = replace(
            model,
            identity=identity,
            sha256=sha256,
            num_bytes=num_bytes,
            created_at=int(time.time()),
        )
        path = _record_of(self.path_of(model))
        try:
            write_whole(path, json.dumps(asdict(record), indent=1))
        except OSError as error:
            raise DiskFull(f"The record cannot be written ({error.strerror}).") from error
        return record

    def remove(self, model: MadeModel) -> int:
        """Deletes a made model; the bytes freed."""
        path = self.path_of(model)
        _record_of(path).unlink(missing_ok=True)
        num_bytes = path.stat().st_size if path.is_file() else 0
        path.unlink(missing_ok=True)
        return num_bytes + self._discard(path)

    def discard(self, text: str) -> int:
        """Deletes what a stopped making of that name left; the bytes freed."""
        wanted = _parts(text)
        return self._discard(self.path_of(MadeModel(*wanted))) if wanted else 0

    def _discard(self, path: Path) -> int:
        """Raises Overloaded while a command is making it."""
        rest = [path.with_name(path.name + ending) for ending in (UNFINISHED, JOURNAL, LOCK)]
        present = [one for one in rest if one.is_file()]
        if not present:
            return 0
        with made_alone(path):
            freed = sum(one.stat().st_size for one in present)
            for one in present:
                one.unlink(missing_ok=True)
        return freed

    def _all(self, ending: str) -> Iterator[MadeModel]:
        try:
            records = sorted(path for path in self.folder.iterdir() if path.name.endswith(ending))
        except OSError:
            return
        for record in records:
            model = self._read(record)
            if model is not None:
                yield model

    def _read(self, record: Path) -> MadeModel | None:
        """A record that is sound and whose file is there, else None."""
        try:
            if record.stat().st_size > _MAX_RECORD_BYTES:
                return None
            model = MadeModel(**json.loads(record.read_bytes()))
            texts = (model.base, model.precision, model.sha256, model.identity, model.calibrated_on)
            is_sound = all(isinstance(text, str) for text in texts) and _key(model.name) is not None
            is_there = is_sound and _record_of(self.path_of(model)) == record
            return model if is_there and self.path_of(model).is_file() else None
        except (OSError, ValueError, TypeError, RecursionError):
            return None


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


@contextmanager
def made_alone(path: Path) -> Iterator[None]:
    """One command at a time makes or discards a file; raises Overloaded and DiskFull."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + LOCK).open("a")
    except OSError as error:
        raise DiskFull(f"The folder cannot be written ({error.strerror}).") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Overloaded(f"'{path.name}' is being made by another command.") from None
        yield


def _parts(text: str) -> tuple[str, str] | None:
    """Base and precision of a name; None for one without precision."""
    try:
        name = parse_name(text)
    except HearthError:
        return None
    match name:
        case CatalogueName(base, str(precision), None):
            return base, normalised(precision)
        case HubName(_, _, str(selector), None):
            return name.source, normalised(selector)
    return None


def _key(text: str) -> tuple[str, str] | None:
    """What two spellings of one name have in common."""
    parts = _parts(text)
    return (parts[0].lower(), parts[1]) if parts else None
