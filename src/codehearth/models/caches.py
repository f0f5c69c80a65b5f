"""What lies in the hubs' shared caches, whoever put it there; read without any library or network.

    <huggingface cache>/models--org--name/snapshots/<commit>/...     links into ../../blobs
    <modelscope cache>/models/org--name/snapshots/<revision>/...     files
    <modelscope cache>/models/org/name, .../hub/models/org/name      files, as before 2026;
                                                                     '.' of a name is '___'

A snapshot holds GGUF models, each one file or one set of parts, or one checkpoint of safetensors.
Incomplete ones are passed over: another program may be downloading them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from codehearth.models import checkpoint
from codehearth.models.catalogue import Format
from codehearth.models.gguf_files import group_parts
from codehearth.models.hubs import HubPlaces
from codehearth.models.names import Hub, is_safe_file_path, is_safe_repository
from codehearth.models.precisions import precision_of_file

# A snapshot with more entries than this is no model that we could serve.
_MAX_ENTRIES = 4096
_MAX_DEPTH = 3

_LEGACY_DOT = "___"


@dataclass(frozen=True)
class CachedModel:
    """A complete model in a cache. `main` is its first file below `folder`, '' for the folder."""

    hub: Hub
    repo: str
    revision: str
    folder: Path
    main: str
    format: Format
    precision: str | None
    files: tuple[str, ...]
    num_bytes: int
    modified_at: int


def cached_models(places: HubPlaces) -> tuple[CachedModel, ...]:
    """Every complete model in both caches, newest first."""
    found = [
        model
        for hub, repo, revision, folder in _snapshots(places)
        for model in models_in_folder(hub, repo, revision, folder)
    ]
    return tuple(sorted(found, key=lambda model: (-model.modified_at, model.repo, model.main)))


def models_in_folder(hub: Hub, repo: str, revision: str, folder: Path) -> Iterator[CachedModel]:
    """The complete models in one snapshot's folder."""
    sizes = dict(_files(folder))
    modified_at = _modified_at(folder)
    for group in group_parts(sizes):
        if group.is_complete:
            yield CachedModel(
                hub, repo, revision, folder,
                main=group.files[0],
                format="gguf",
                precision=precision_of_file(group.files[0]),
                files=group.files,
                num_bytes=sum(sizes[path] for path in group.files),
                modified_at=modified_at,
            )  # fmt: skip
    files = checkpoint.files_of(folder, sizes)
    if files is not None:
        yield CachedModel(
            hub, repo, revision, folder,
            main="",
            format="safetensors",
            precision=checkpoint.precision(folder),
            files=files,
            num_bytes=sum(sizes[path] for path in files),
            modified_at=modified_at,
        )  # fmt: skip


def modelscope_folder(cache: Path, repo: str, revision: str) -> Path:
    """Where modelscope_hub keeps a repository's files: the old place where that is in use."""
    owner, _, name = repo.partition("/")
    for base in (cache / "models", cache / "hub" / "models"):
        legacy = base / owner / name.replace(".", _LEGACY_DOT)
        if _has_entries(legacy):
            return legacy
    return cache / "models" / repo.replace("/", "--") / "snapshots" / revision


def _snapshots(places: HubPlaces) -> Iterator[tuple[Hub, str, str, Path]]:
    for folder in _subfolders(places.huggingface_cache):
        kind, _, name = folder.name.partition("--")
        repo = name.replace("--", "/")
        if kind == "models" and is_safe_repository(repo):
            for snapshot in _subfolders(folder / "snapshots"):
                yield "huggingface", repo, snapshot.name, snapshot
    for folder in _subfolders(places.modelscope_cache / "models"):
        repo = folder.name.replace("--", "/")
        if is_safe_repository(repo):
            for snapshot in _subfolders(folder / "snapshots"):
                yield "modelscope", repo, snapshot.name, snapshot
    for base in (places.modelscope_cache / "models", places.modelscope_cache / "hub" / "models"):
        for owner in _subfolders(base):
            for folder in _subfolders(owner):
                repo = f"{owner.name}/{folder.name.replace(_LEGACY_DOT, '.')}"
                if folder.name != "snapshots" and is_safe_repository(repo):
                    yield "modelscope", repo, "master", folder


def _subfolders(folder: Path) -> Iterable[Path]:
    """The folders in a folder, by name; hidden ones and links to elsewhere are left out."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                Path(entry.path)
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )
    except OSError:
        return ()


def _files(folder: Path, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, int]]:
    """Path and size of each file that is there; a broken link is not."""
    try:
        with os.scandir(folder / prefix) as entries:
            found = sorted(entries, key=lambda entry: entry.name)[:_MAX_ENTRIES]
    except OSError:
        return
    for entry in found:
        path = f"{prefix}{entry.name}"
        if not is_safe_file_path(path) or entry.name.startswith("."):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                if depth < _MAX_DEPTH:
                    yield from _files(folder, f"{path}/", depth + 1)
            elif entry.is_file():
                yield path, entry.stat().st_size
        except OSError:
            continue


def _modified_at(folder: Path) -> int:
    try:
        return int(folder.stat().st_mtime)
    except OSError:
        return 0


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entries)
    except OSError:
        return False


# A snapshot's entry in the Hugging Face cache links to a blob that is named by its hash.
_SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256_of_link(path: Path) -> str | None:
    """The sha256 that the Hugging Face cache promises for an entry, where it does."""
    try:
        name = path.readlink().name
    except OSError:
        return None
    return name if _SHA256.fullmatch(name) else None
