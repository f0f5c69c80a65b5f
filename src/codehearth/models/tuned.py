"""Models that were tuned on this machine: each a name with its versions, one of them in use.

    tuned/NAME/current.json     which version the name means; replaced in one step
    tuned/NAME/3/record.json    where it came from
    tuned/NAME/3/model.gguf, adapter.gguf, merged/, adapter/, result.json, curves
    tuned/NAME/3/chat_template.jinja   where the training had a system prompt

A version's folder is made elsewhere and moved here whole; then the name begins to mean it. So a
name never means half a model, and going back is to name the version before.

`NAME` is the GGUF, `NAME:checkpoint` the merged checkpoint, `NAME:adapter` the base model with the
adapter beside it: on a GGUF of the base where one is here, else, and as `NAME:peft`, on its
checkpoint.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from codehearth.errors import DiskFull, InvalidRequest, NotFound
from codehearth.models.whole_file import write_whole

_CURRENT = "current.json"
_RECORD = "record.json"
_MAX_RECORD_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

GGUF = "model.gguf"
GGUF_ADAPTER = "adapter.gguf"
MERGED = "merged"
ADAPTER = "adapter"
TEMPLATE = "chat_template.jinja"
FORMS = ("checkpoint", "adapter", "peft")


@dataclass(frozen=True)
class TunedModel:
    """One version. `base` is the name of the checkpoint that was tuned, `row` the base's row in
    the catalogue; `identity` tells jobs apart. `has_gguf` is false for architectures that
    llama.cpp does not know, `has_adapter` where its form cannot hold the adapter."""

    name: str
    base: str
    identity: str
    precision: str = "f16"
    row: str | None = None
    sha256: str = ""
    version: int = 0
    created_at: int = 0
    has_gguf: bool = True
    has_adapter: bool = True
    data_sha256: str = ""
    seed: int = 0


class Tuned:
    """The folder of tuned models, read anew at every call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> tuple[TunedModel, ...]:
        """The version in use of every name."""
        found = (self.get(name) for name in self._names())
        return tuple(model for model in found if model is not None)

    def get(self, name: str) -> TunedModel | None:
        """The version that a name means; None where there is none of that name."""
        own = self._own(name)
        if own is None:
            return None
        try:
            current = json.loads((self.folder / own / _CURRENT).read_bytes())["version"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return self._read(own, current) if isinstance(current, int) else None

    def versions(self, name: str) -> tuple[TunedModel, ...]:
        """All versions of a name, the first one first."""
        own = self._own(name)
        if own is None:
            return ()
        found = (self._read(own, number) for number in self._numbers(own))
        return tuple(model for model in found if model is not None)

    def path_of(self, model: TunedModel) -> Path:
        return self.folder / model.name / str(model.version)

    def put(self, model: TunedModel, made: Path) -> TunedModel:
        """Moves the folder `made` here as the next version, which the name means from now on."""
        home = self.folder / model.name
        version = max((0, *self._numbers(model.name))) + 1
        record = replace(model, version=version, created_at=int(time.time()))
        try:
            home.mkdir(parents=True, exist_ok=True)
            _write(made / _RECORD, asdict(record))
            made.rename(home / str(version))
            self._use(record)
        except OSError as error:
            raise DiskFull(f"The model cannot be registered ({error.strerror}).") from error
        return record

    def use(self, model: TunedModel) -> None:
        """Lets the name mean this version."""
        try:
            self._use(model)
        except OSError as error:
            raise DiskFull(f"The record cannot be written ({error.strerror}).") from error

    def roll_back(self, name: str) -> TunedModel:
        """Lets the name mean the version before; raises NotFound where there is none."""
        current = self.get(name)
        if current is None:
            raise NotFound(
                f"No model '{name}' was tuned here.", hint="`hearth tune --list` lists them"
            )
        older = [one for one in self.versions(name) if one.version < current.version]
        if not older:
            raise NotFound(
                f"'{current.name}' has no version before {current.version}.",
                hint=f"`hearth rm {current.name}` deletes it",
            )
        self.use(older[-1])
        return older[-1]

    def remove(self, name: str) -> int:
        """Deletes a name with all its versions; the bytes freed."""
        own = self._own(name)
        if own is None:
            return 0
        home = self.folder / own
        freed = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
        (home / _CURRENT).unlink(missing_ok=True)  # first: half a folder is no model
        shutil.rmtree(home, ignore_errors=True)
        return freed

    def _use(self, model: TunedModel) -> None:
        _write(self.folder / model.name / _CURRENT, {"version": model.version})

    def _own(self, name: str) -> str | None:
        """The name as it is spelled here."""
        return next((own for own in self._names() if own.lower() == name.lower()), None)

    def _names(self) -> list[str]:
        try:
            return sorted(p.name for p in self.folder.iterdir() if _NAME.fullmatch(p.name))
        except OSError:
            return []

    def _numbers(self, name: str) -> list[int]:
        try:
            names = [path.name for path in (self.folder / name).iterdir()]
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isdigit())

    def _read(self, name: str, version: int) -> TunedModel | None:
        """A version whose record is sound and whose files are there."""
        folder = self.folder / name / str(version)
        try:
            if (folder / _RECORD).stat().st_size > _MAX_RECORD_BYTES:
                return None
            model = TunedModel(**json.loads((folder / _RECORD).read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        is_sound = model.name == name and model.version == version
        return model if is_sound and (folder / MERGED).is_dir() else None


def split_form(text: str) -> tuple[str, str | None]:
    """A name and the form of the model that it asks for: `me:adapter` is `me`, `adapter`."""
    name, _, form = text.partition(":")
    return (name, form.lower()) if form.lower() in FORMS else (text, None)


def require_name(name: str) -> str:
    """A name that a tuned model may have; raises InvalidRequest."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidRequest(
            f"'{name[:80]}' is no name for a model.",
            hint="letters, digits, '.', '_' and '-', at most 64, a letter or digit first",
            param="name",
        )
    return name


def _write(path: Path, document: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(document, indent=1, ensure_ascii=False))
