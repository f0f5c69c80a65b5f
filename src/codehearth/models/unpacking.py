"""A bundle is checked, and its models are installed where pulled and made ones lie.

1. The manifest is read and checked in every field (`bundle`).
2. The disks must have room.
3. The files are read in the manifest's order. Each must be a plain file of the size that is listed;
   its bytes go into a partial file beside their place, and count once their hash is right.
4. When all of a model's files are there, its record is written: then it is a model. A bundle that
   turns out damaged further on leaves the models before it, which are whole, and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Protocol

from codehearth.errors import DiskFull, NotFound
from codehearth.models.bundle import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    ROOT,
    BundledFile,
    HubModel,
    Manifest,
    Model,
    OwnModel,
    damaged,
    from_json,
)
from codehearth.models.caches import modelscope_folder
from codehearth.models.checkpoint import code_needed
from codehearth.models.pull import FreeBytes, free_bytes_at, require_space
from codehearth.models.records import Recorded, RecordedFile
from codehearth.models.store import Store

Say = Callable[[str], None]
_CHUNK_BYTES = 1 << 20


class Source(Protocol):
    """Where a bundle's files come from, in the manifest's order, each opened once."""

    def open(self, path: str, num_bytes: int) -> IO[bytes]: ...

    def end(self) -> None: ...


def verify(bundle: Path) -> Manifest:
    """Reads all of a bundle and keeps nothing; raises BadWeights for one that is not whole."""
    with _opened(bundle) as (manifest, source):
        for file in manifest.files:
            _drain(source.open(file.path, file.num_bytes), file, None)
        source.end()
    return manifest


def unpack(
    bundle: Path, store: Store, *, say: Say, free_bytes: FreeBytes = free_bytes_at
) -> tuple[str, ...]:
    """Installs the models of a bundle; their names. Raises BadWeights, DiskFull, NotFound."""
    with _opened(bundle) as (manifest, source):  # 1
        sizes = [
            sum(f.num_bytes for f in manifest.files_of(i)) for i in range(len(manifest.models))
        ]
        for model, num_bytes in zip(manifest.models, sizes, strict=True):
            require_space(max(num_bytes, sum(sizes)), free_bytes(_place(store, model)))  # 2
        for file in manifest.files:
            if not file.path.startswith("models/"):
                _drain(source.open(file.path, file.num_bytes), file, None)
        for index, model in enumerate(manifest.models):
            _install(store, model, manifest.files_of(index), source, say)
        source.end()
    return tuple(model.name for model in manifest.models)


def _install(
    store: Store, model: Model, files: tuple[BundledFile, ...], source: Source, say: Say
) -> None:
    """One model, whole or not at all."""
    folder = _place(store, model)
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".unbundle-{os.getpid()}"
    staged.mkdir()
    try:
        for file, path in zip(files, model.files, strict=True):  # 3
            say(f"unpacking {path}")
            part = staged / path
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as target:
                _drain(source.open(file.path, file.num_bytes), file, target)
        if not isinstance(model, OwnModel) and (why := code_needed(staged, model.files)):
            raise damaged(f"'{model.name}' carries Python code of its own ({why})")
        _register(store, model, files, staged)  # 4
    except OSError as error:
        raise DiskFull(f"The bundle cannot be unpacked ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _register(store: Store, model: Model, files: tuple[BundledFile, ...], staged: Path) -> None:
    if isinstance(model, HubModel):
        folder = _snapshot(store, model)
        for file, path in zip(files, model.files, strict=True):
            _put(staged / path, folder / path, file, has_blobs=model.hub == "huggingface")
        store.remember(_recorded(model, folder, files))
        return
    if isinstance(model, OwnModel):
        store.require_free_name(model.name)
        store.tuned.put(model.record, staged)
        return
    num_bytes = sum(file.num_bytes for file in files)
    if model.record.is_checkpoint:
        hashes = {path: file.sha256 for file, path in zip(files, model.files, strict=True)}
        store.made.put(replace(model.record, num_bytes=num_bytes, files=hashes), staged)
        return
    (file,) = files
    record = replace(model.record, num_bytes=num_bytes, sha256=file.sha256)
    store.made.put(record, staged / model.files[0])


def _put(staged: Path, target: Path, file: BundledFile, *, has_blobs: bool) -> None:
    """A file to its place; in Hugging Face's cache that is a link to a blob named by its hash."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not has_blobs:
        staged.replace(target)
        return
    repository = next(parent for parent in target.parents if parent.name == "snapshots").parent
    blob = repository / "blobs" / file.sha256
    blob.parent.mkdir(exist_ok=True)
    staged.replace(blob)
    with suppress(FileNotFoundError):
        target.unlink()
    target.symlink_to(os.path.relpath(blob, target.parent))


def _recorded(model: HubModel, folder: Path, files: tuple[BundledFile, ...]) -> Recorded:
    return Recorded(
        name=model.name,
        hub=model.hub,
        repo=model.repo,
        revision=model.revision,
        commit=model.commit,
        format=model.format,
        precision=model.precision,
        folder=str(folder.absolute()),
        main=model.main,
        files=tuple(
            RecordedFile(path, file.num_bytes, file.sha256)
            for file, path in zip(files, model.files, strict=True)
        ),
        created_at=int(time.time()),
    )


def _place(store: Store, model: Model) -> Path:
    """The folder below which the model will lie."""
    if isinstance(model, OwnModel):
        return store.tuned.folder
    if not isinstance(model, HubModel):
        return store.made.folder
    if model.hub == "huggingface":
        return store.places.huggingface_cache
    return store.places.modelscope_cache


def _snapshot(store: Store, model: HubModel) -> Path:
    if model.hub == "huggingface":
        repository = f"models--{model.repo.replace('/', '--')}"
        return store.places.huggingface_cache / repository / "snapshots" / model.commit
    return modelscope_folder(store.places.modelscope_cache, model.repo, model.revision)


def _drain(stream: IO[bytes], file: BundledFile, target: IO[bytes] | None) -> None:
    """Reads a file to its end, into `target` where there is one; its size and hash must agree."""
    digest, num_bytes = hashlib.sha256(), 0
    try:
        with stream:
            while chunk := stream.read(_CHUNK_BYTES):
                num_bytes += len(chunk)
                digest.update(chunk)
                if target is not None:
                    target.write(chunk)
    except tarfile.TarError as error:
        raise damaged(f"it ends within '{file.path}'") from error
    if num_bytes != file.num_bytes:
        raise damaged(f"'{file.path}' has {num_bytes} bytes instead of {file.num_bytes}")
    if digest.hexdigest() != file.sha256:
        raise damaged(f"the hash of '{file.path}' is not the one it lists")


@contextmanager
def _opened(bundle: Path) -> Iterator[tuple[Manifest, Source]]:
    """The manifest and the source of a bundle: the file, or the folder that `tar xf` made of it."""
    if bundle.is_dir():
        folder = bundle / ROOT if (bundle / ROOT).is_dir() else bundle
        source = _Folder(folder)
        yield from_json(_bounded(source.open(MANIFEST, -1))), source
        return
    if not bundle.is_file():
        raise NotFound(f"There is no file '{bundle}'.")
    try:
        with tarfile.open(bundle, "r:") as archive:
            packed = _Tar(archive)
            yield from_json(_bounded(packed.open(MANIFEST, -1))), packed
    except tarfile.TarError as error:
        raise damaged("it is no tar file, or only a part of one") from error


def _bounded(stream: IO[bytes]) -> bytes:
    with stream:
        text = stream.read(MAX_MANIFEST_BYTES + 1)
    if len(text) > MAX_MANIFEST_BYTES:
        raise damaged("its manifest is too large")
    return text


class _Tar:
    """Entries one after the other; whatever is not the expected plain file is refused."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def open(self, path: str, num_bytes: int) -> IO[bytes]:
        entry = self._archive.next()
        if entry is None:
            raise damaged(f"'{path}' is missing")
        if entry.name != f"{ROOT}/{path}" or not entry.isreg() or entry.issparse():
            raise damaged(f"where '{path}' should be it holds {entry.name[:80]!r}")
        if num_bytes >= 0 and entry.size != num_bytes:
            raise damaged(f"'{path}' has {entry.size} bytes instead of {num_bytes}")
        stream = self._archive.extractfile(entry)
        assert stream is not None
        return stream

    def end(self) -> None:
        if self._archive.next() is not None:
            raise damaged("it holds more than it lists")


class _Folder:
    """An unpacked bundle. Links are refused wherever they are in a path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def open(self, path: str, num_bytes: int) -> IO[bytes]:
        file = self._folder / path
        if not file.is_file() or file.resolve() != file:
            raise damaged(f"'{path}' is missing, or a link")
        return file.open("rb")

    def end(self) -> None: ...
