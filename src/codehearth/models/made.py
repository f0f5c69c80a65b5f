"""Models that were made on this machine from others: quantised by the lab.

Each is a GGUF file with a record beside it, in one folder below the data folder. The record is
written last, so a file without one is unfinished and not found. A made model is named after the
model that it came from: `starter:q4_k_m`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codehearth.errors import DiskFull, HearthError
from codehearth.models.names import CatalogueName, HubName, parse_name
from codehearth.models.precisions import normalised

_MAX_RECORD_BYTES = 1 << 16


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
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DiskFull(f"The record cannot be written ({error.strerror}).") from error
        return record

    def remove(self, model: MadeModel) -> int:
        """Deletes a made model; the bytes freed."""
        path = self.path_of(model)
        _record_of(path).unlink(missing_ok=True)
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
        num_bytes = path.stat().st_size if path.is_file() else 0
        path.unlink(missing_ok=True)
        return num_bytes

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
            texts = (model.base, model.precision, model.sha256, model.identity)
            is_sound = all(isinstance(text, str) for text in texts) and _key(model.name) is not None
            is_there = is_sound and _record_of(self.path_of(model)) == record
            return model if is_there and self.path_of(model).is_file() else None
        except (OSError, ValueError, TypeError, RecursionError):
            return None


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _key(text: str) -> tuple[str, str] | None:
    """What two spellings of one name have in common; None for a name without precision."""
    try:
        name = parse_name(text)
    except HearthError:
        return None
    match name:
        case CatalogueName(base, str(precision), None):
            return base.lower(), normalised(precision)
        case HubName(_, _, str(selector), None):
            return name.source.lower(), normalised(selector)
    return None
