"""A bundle is written: models of the store and, where they are wanted, packages.

1. What is asked for must be here, whole, and something that can be taken elsewhere.
2. The disk must have room for a copy.
3. Every file is read once for its hash; one that is known is compared.
4. The tar is written under another name, and takes its place when it is whole.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codehearth.errors import BadWeights, DiskFull, InvalidRequest
from codehearth.models import transfer
from codehearth.models.bundle import (
    MANIFEST,
    ROOT,
    BundledFile,
    HubModel,
    LabModel,
    Manifest,
    Model,
    OwnModel,
    to_json,
)
from codehearth.models.local_models import LocalModel
from codehearth.models.names import PathName, parse_name
from codehearth.models.pull import FreeBytes, free_bytes_at, require_space
from codehearth.models.store import Store
from codehearth.models.tuned import split_form

Say = Callable[[str], None]


@dataclass(frozen=True)
class Packages:
    """A folder with `install.sh`, `requirements.txt` and `wheels/`, and what they are for."""

    folder: Path
    version: str
    python: str
    platform: str


def pack(
    store: Store,
    names: Sequence[str],
    packages: Packages | None,
    target: Path,
    *,
    say: Say,
    free_bytes: FreeBytes = free_bytes_at,
) -> Manifest:
    """Writes the bundle `target`; raises what `Store.find` does, DiskFull, InvalidRequest."""
    found = _found(store, names, has_packages=packages is not None, say=say)  # 1
    sources = [
        (f"models/{index}/{file}", _folder(store, local, model) / file, local.sha256.get(file))
        for index, (local, model) in enumerate(found)
        for file in model.files
    ]
    if packages is not None:
        files = sorted(path for path in packages.folder.rglob("*") if path.is_file())
        own = [(path.relative_to(packages.folder).as_posix(), path, None) for path in files]
        sources = [*own, *sources]
    require_space(
        sum(path.stat().st_size for _, path, _ in sources), free_bytes(target.parent)
    )  # 2
    manifest = Manifest(
        version=packages.version if packages else "",
        python=packages.python if packages else "",
        platform=packages.platform if packages else "",
        models=tuple(model for _, model in found),
        files=tuple(_listed(name, path, expected, say) for name, path, expected in sources),  # 3
    )
    _write(manifest, {name: path for name, path, _ in sources}, target, say)  # 4
    return manifest


def _found(
    store: Store, names: Sequence[str], *, has_packages: bool, say: Say
) -> list[tuple[LocalModel, Model]]:
    found: dict[str, tuple[LocalModel, Model]] = {}
    for name in names:
        local = store.find(name)
        if local.source == "package":
            note = "" if has_packages else ", which are left out"
            say(f"'{local.name}' comes with CodeHearth's packages{note}.")
        else:
            model = _described(store, local)
            found[model.name] = (local, model)
    return list(found.values())


def _folder(store: Store, local: LocalModel, model: Model) -> Path:
    return store.tuned.path_of(model.record) if isinstance(model, OwnModel) else local.folder


def _own(store: Store, name: str) -> OwnModel | None:
    """The version in use of a tuned model, whichever form was named."""
    record = store.tuned.get(split_form(name)[0])
    if record is None:
        return None
    if isinstance(parse_name(record.base, allow_path=True), PathName):
        # The base lies on this machine alone, and the adapter needs it.
        record = replace(record, base=f"{record.name}-base", has_adapter=False)
    folder = store.tuned.path_of(record)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = tuple(path.relative_to(folder).as_posix() for path in files)
    return OwnModel(record.name, record, tuple(n for n in names if n != "record.json"))


def _described(store: Store, local: LocalModel) -> Model:
    if local.source == "tuned" and (own := _own(store, local.name)):
        return own
    made = store.made.get(local.name) if local.source == "made" else None
    if made is not None:
        return LabModel(local.name, made, local.files)
    if local.hub is None or local.repo is None or local.format == "remote":
        raise InvalidRequest(
            f"'{local.name}' was neither fetched nor made here, so a bundle cannot name it.",
            hint="copy its files, and serve them by their path",
            param="model",
        )
    revision = local.revision or "main"
    return HubModel(
        name=local.name,
        hub=local.hub,
        repo=local.repo,
        revision=local.branch or revision,
        commit=revision,
        format=local.format,
        precision=local.precision,
        main="" if local.path == local.folder else local.path.relative_to(local.folder).as_posix(),
        files=local.files,
    )


def _listed(name: str, path: Path, expected: str | None, say: Say) -> BundledFile:
    if name.startswith("models/"):
        say(f"checking {path.name}")
    digest = transfer.file_digest(path, "sha256")
    if expected is not None and digest != expected:
        raise BadWeights(
            f"'{path.name}' is not what was fetched: its hash differs.",
            hint="delete it with `hearth rm`, and fetch or make it again",
        )
    return BundledFile(name, path.stat().st_size, digest)


def _write(manifest: Manifest, paths: dict[str, Path], target: Path, say: Say) -> None:
    temporary = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            text = to_json(manifest)
            archive.addfile(_entry(MANIFEST, len(text)), io.BytesIO(text))
            for file in manifest.files:
                if file.path.startswith("models/"):
                    say(f"packing {file.path.rpartition('/')[2]}")
                with paths[file.path].open("rb") as stream:
                    archive.addfile(_entry(file.path, file.num_bytes), stream)
        temporary.replace(target)
    except OSError as error:
        raise DiskFull(f"The bundle cannot be written ({error.strerror or error}).") from error
    finally:
        temporary.unlink(missing_ok=True)


def _entry(path: str, num_bytes: int) -> tarfile.TarInfo:
    """The same bundle from the same files: no owner, no time."""
    entry = tarfile.TarInfo(f"{ROOT}/{path}")
    entry.size = num_bytes
    entry.mode = 0o755 if path.endswith(".sh") else 0o644
    return entry
