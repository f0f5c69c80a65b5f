"""Models that were made on this machine from others: quantised by the lab.

Each is a GGUF file or the folder of a checkpoint, with a record beside it, in one folder below the
data folder. The record is written last, so what has none is unfinished and not found. A made model
is named after the model that it came from: `starter:q4_k_m`, `starter:int8`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from codehearth.errors import DiskFull, HearthError, Overloaded
from codehearth.models.names import CatalogueName, HubName, is_safe_file_path, parse_name
from codehearth.models.precisions import CHECKPOINT_PRECISIONS, normalised
from codehearth.models.whole_file import write_whole

_MAX_RECORD_BYTES = 1 << 16
# What lies beside the place of a file that is being made.
UNFINISHED, JOURNAL, LOCK = ".unfinished", ".journal", ".lock"


@dataclass(frozen=True)
class MadeModel:
    """`base` is the name of the model it came from, without a precision; `row` the name of that
    model's row in the catalogue, where it has one. `identity` tells jobs apart. A checkpoint has
    `files`, each with its sha256, and no `sha256` of its own."""

    base: str
    precision: str
    row: str | None = None
    num_bytes: int = 0
    sha256: str = ""
    identity: str = ""
    created_at: int = 0
    # The text (or the file) whose importance matrix it was made with: title and sha256.
    calibrated_on: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.base}:{self.precision}"

    @property
    def is_checkpoint(self) -> bool:
        return self.precision in CHECKPOINT_PRECISIONS


class Made:
    """The folder of made models, read anew at every call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> tuple[MadeModel, ...]:
        return tuple(self._all(".json"))

    def get(self, text: str) -> MadeModel | None:
        """The made model of that name; the precision in any spelling."""
        wanted = _key(text)
        if wanted is None:
            return None
        # Most names that are asked for are not ours: only records of that precision are read.
        found = self._all(_record_of(Path(f"-{wanted[1]}{_suffix(wanted[1])}")).name)
        return next((model for model in found if _key(model.name) == wanted), None)

    def path_of(self, model: MadeModel) -> Path:
        """Where its file or folder is or will be: its name, as far as a file's name can be that."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", model.base).strip("-.")[:80]
        if plain != model.base:
            plain += "-" + hashlib.sha256(model.base.encode()).hexdigest()[:8]
        return self.folder / f"{plain}-{model.precision}{_suffix(model.precision)}"

    def put(self, model: MadeModel, whole: Path) -> MadeModel:
        """Moves the whole file or folder to its place and writes its record; raises DiskFull."""
        record = replace(model, created_at=int(time.time()))
        path = self.path_of(model)
        try:
            if path.is_dir():  # of another job; what is half gone has no record
                _record_of(path).unlink(missing_ok=True)
                shutil.rmtree(path)
            whole.replace(path)
            write_whole(_record_of(path), json.dumps(asdict(record), indent=1))
        except OSError as error:
            raise DiskFull(f"The record cannot be written ({error.strerror}).") from error
        return record

    def remove(self, model: MadeModel) -> int:
        """Deletes a made model; the bytes freed."""
        path = self.path_of(model)
        _record_of(path).unlink(missing_ok=True)
        return _remove(path) + self._discard(path)

    def discard(self, text: str) -> int:
        """Deletes what a stopped making of that name left; the bytes freed."""
        wanted = _parts(text)
        return self._discard(self.path_of(MadeModel(*wanted))) if wanted else 0

    def _discard(self, path: Path) -> int:
        """Raises Overloaded while a command is making it."""
        rest = [path.with_name(path.name + ending) for ending in (UNFINISHED, JOURNAL, LOCK)]
        if not any(one.exists() for one in rest):
            return 0
        with made_alone(path):
            return sum(map(_remove, rest))

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
        """A record that is sound and whose files are there, else None."""
        try:
            if record.stat().st_size > _MAX_RECORD_BYTES:
                return None
            model = MadeModel(**json.loads(record.read_bytes()))
            texts = (model.base, model.precision, model.sha256, model.identity, model.calibrated_on)
            is_sound = all(isinstance(text, str) for text in texts) and _key(model.name) is not None
            path = self.path_of(model)
            is_sound = is_sound and all(map(is_safe_file_path, model.files))
            files = [path / file for file in model.files] if model.is_checkpoint else [path]
            is_there = is_sound and _record_of(path) == record and bool(files)
            return model if is_there and all(file.is_file() for file in files) else None
        except (OSError, ValueError, TypeError, RecursionError):
            return None


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _suffix(precision: str) -> str:
    return "" if precision in CHECKPOINT_PRECISIONS else ".gguf"


def _remove(path: Path) -> int:
    """Deletes a file or a folder; the bytes freed, 0 where there is none."""
    if path.is_dir():
        num_bytes = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
        shutil.rmtree(path)
        return num_bytes
    num_bytes = path.stat().st_size if path.is_file() else 0
    path.unlink(missing_ok=True)
    return num_bytes


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
