"""Deleting a model's files from a shared cache, and never anything else.

The record of what was downloaded is a file that may be old, edited or damaged, and a cache may
hold links that somebody made. So whatever is told to be deleted must lie, after all links above
it are followed, inside the cache; a link itself is unlinked and never what it points to, except
for the blobs of the Hugging Face cache, and those only inside their own repository.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from codehearth.errors import BadWeights
from codehearth.models.names import is_safe_file_path


def remove_from_folder(cache: Path, folder: Path, files: Iterable[str]) -> int:
    """Deletes files below `folder`, and the folders that are empty then; the bytes freed."""
    _require_inside(cache, folder)
    freed = 0
    for path in _entries(cache, folder, files):
        freed += _unlink(path)
        _remove_empty_folders(path.parent, cache)
    return freed


def remove_from_huggingface_cache(cache: Path, folder: Path, files: Iterable[str]) -> int:
    """Deletes entries of a snapshot, and each blob that no other entry uses; the bytes freed.

    The deletion is huggingface_hub's own, which knows about blobs that several repositories share.
    Entries that point out of their repository are only unlinked.
    """
    from huggingface_hub import scan_cache_dir

    _require_inside(cache, folder)
    repository = folder.parent.parent
    blobs = (repository / "blobs").resolve()
    doomed = set(_entries(cache, folder, files))
    ours = {path for path in doomed if _links_into(path, blobs)}
    freed = sum(_unlink(path) for path in doomed - ours)
    scanned = scan_cache_dir(cache)
    found = [
        file
        for repo in scanned.repos
        if repo.repo_path.resolve() == repository.resolve()
        for revision in repo.revisions
        for file in revision.files
        if any(_is_same_entry(file.file_path, path) for path in ours)
    ]
    strategy = scanned.delete_files(*found)
    strategy.execute()
    for path in doomed:
        _remove_empty_folders(path.parent, cache)
    _remove_husk(repository, cache)
    return freed + int(strategy.expected_freed_size)


def remove_partial_files(cache: Path, folder: Path, of: re.Pattern[str]) -> int:
    """Deletes files `NAME.incomplete` below `folder` whose name matches; the bytes freed."""
    if not folder.is_dir():
        return 0
    _require_inside(cache, folder)
    freed = 0
    for path in sorted(folder.rglob("*.incomplete")):
        is_ours = of.fullmatch(path.name.removesuffix(".incomplete"))
        if is_ours and path.is_file() and not path.is_symlink():
            _require_inside(cache, path.parent)
            freed += _unlink(path)
            _remove_empty_folders(path.parent, cache)
    return freed


def _entries(cache: Path, folder: Path, files: Iterable[str]) -> Iterable[Path]:
    for file in files:
        if not is_safe_file_path(file):
            raise BadWeights("The record of this model names a file outside of its folder.")
        path = folder / file
        if path.is_symlink() or path.is_file():
            # The entry's folder may itself be a link to somewhere else.
            _require_inside(cache, path.parent)
            yield path


def _require_inside(cache: Path, path: Path) -> None:
    if not path.resolve().is_relative_to(cache.resolve()) or path.resolve() == cache.resolve():
        raise BadWeights(
            "This model's files lie outside of the hub's cache.",
            hint="delete them by hand if you want them gone",
        )


def _links_into(path: Path, blobs: Path) -> bool:
    """Whether an entry is a link to a blob of its own repository."""
    if not path.is_symlink():
        return False
    target = Path(os.path.normpath(path.parent.resolve() / path.readlink()))
    return target.parent == blobs


def _is_same_entry(one: Path, other: Path) -> bool:
    return one.name == other.name and one.parent.resolve() == other.parent.resolve()


def _unlink(path: Path) -> int:
    size = 0 if path.is_symlink() else path.stat().st_size
    path.unlink()
    return size


def _remove_empty_folders(folder: Path, cache: Path) -> None:
    """Removes `folder` and those above it as long as they are empty, up to the cache."""
    while folder != cache and folder.is_relative_to(cache) and not folder.is_symlink():
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _remove_husk(repository: Path, cache: Path) -> None:
    """Removes what is left of a repository without a snapshot: names of branches, partial files."""
    if any((repository / "snapshots").glob("*")):
        return
    for kind in ("refs", ".no_exist", "trees", "blobs"):
        folder = repository / kind
        if folder.is_symlink() or not folder.is_dir():
            continue
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                _remove_empty_folders(path, cache)
            elif kind != "blobs" or path.name.endswith(".incomplete"):
                path.unlink(missing_ok=True)
                _remove_empty_folders(path.parent, cache)
