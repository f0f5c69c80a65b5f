"""The model in the package: one GGUF file, and the card that names its hash."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from importlib import resources
from pathlib import Path

from codehearth.errors import BadWeights
from codehearth.models.catalogue import catalogue
from codehearth.models.local_models import LocalModel

STARTER = "starter"


def starter(folder: Path | None = None) -> LocalModel:
    """The packaged model; raises BadWeights where its file is missing or not what was packaged."""
    folder = folder or Path(str(resources.files("codehearth.data")))
    path = folder / "starter.gguf"
    if not path.is_file():
        raise BadWeights(
            "The packaged model 'starter' is missing from this installation.",
            hint="install codehearth again, or use another model",
        )
    sha256 = sha256_of(path)
    if sha256 != (_named_sha256(folder, path.name) or sha256):
        raise BadWeights(
            "The packaged model 'starter' is damaged: its hash is not that of the package.",
            hint="install codehearth again, or use another model",
        )
    stat = path.stat()
    return LocalModel(
        name=STARTER,
        path=path,
        format="gguf",
        precision=None,
        num_bytes=stat.st_size,
        source="package",
        row=catalogue()[STARTER],
        sha256={path.name: sha256},
        created_at=int(stat.st_mtime),
        folder=folder,
        files=(path.name,),
        sizes={path.name: stat.st_size},
    )


def sha256_of(path: Path) -> str:
    """The hash of a file, computed once as long as its size and time stay; raises OSError."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=16)
def _sha256(path: Path, _size: int, _modified_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _named_sha256(folder: Path, file: str) -> str | None:
    """The hash that `starter.md` names; None in a tree whose starter model is being trained."""
    try:
        text = (folder / "starter.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    found = re.search(rf"SHA-256 of `{re.escape(file)}`:\s+`([0-9a-f]{{64}})`", text)
    return found[1] if found else None
