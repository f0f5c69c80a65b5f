"""One model from one hub into that hub's cache: listed, chosen, fetched, checked.

1. The repository is listed at one commit; what is fetched is of that commit.
2. The files are chosen (`selection`), which refuses code and pickles.
3. The disk must have room for what is missing and 1 GB besides.
4. The small files come first: they may show that the model needs code of its own, or that its
   index names files elsewhere.
5. The weights follow; each is checked by its hash before it counts.
6. Where the repository changed in between, it is listed again, once.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codehearth.errors import BadWeights, DiskFull, HubFailed, ModelNotFound
from codehearth.models import checkpoint, transfer
from codehearth.models.catalogue import Format
from codehearth.models.hubs import HUB_TITLES, HubClient, HubUnreachable, Listing, RemoteFile
from codehearth.models.progress import Meter, ProgressCallback
from codehearth.models.records import RecordedFile
from codehearth.models.selection import Selection, Wanted, refuse_code, select

# Stays free on the disk: a full disk harms more than the download.
RESERVE_BYTES = 1_000_000_000

FreeBytes = Callable[[Path], int]
AllowsCode = Callable[[str, str], bool]


@dataclass(frozen=True)
class Pulled:
    """What a pull brought: a folder, and in it the files with their hashes."""

    listing: Listing
    format: Format
    precision: str | None
    folder: Path
    main: str
    files: tuple[RecordedFile, ...]
    created_at: int


def pull_model(
    client: HubClient,
    repo: str,
    revision: str | None,
    wanted: Wanted,
    *,
    progress: ProgressCallback,
    allows_code: AllowsCode,
    free_bytes: FreeBytes,
) -> Pulled:
    """The model, in the hub's cache and checked; raises what the steps raise."""
    listing = client.listing(repo, revision)
    is_pinned = False
    while True:
        allowed = allows_code(repo, listing.commit)
        selection = select(listing, wanted, allows_code=allowed)  # 2
        files = [*selection.files, *(_code(listing) if allowed else ())]
        missing = sum(client.missing_bytes(listing, file) for file in files)
        require_space(missing, free_bytes(client.cache))  # 3
        meter = Meter(progress, sum(file.num_bytes for file in files))
        _announce(listing, selection, missing, meter)
        try:
            return _fetch(client, listing, wanted, selection, files, meter, allows_code=allowed)
        except HubUnreachable:
            raise
        except (HubFailed, ModelNotFound):
            newer = client.listing(repo, revision)
            if is_pinned or newer == listing:
                raise
            meter.note("the repository changed in between; it is fetched anew")
            listing, is_pinned = newer, True  # 6


def free_bytes_at(folder: Path) -> int:
    """Free bytes of the disk that `folder` lies on, or will lie on."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_space(needed_bytes: int, free_bytes: int) -> None:
    """Raises DiskFull unless a download and the reserve fit; both numbers are in the message."""
    if needed_bytes and needed_bytes + RESERVE_BYTES > free_bytes:
        needed, reserve = in_units(needed_bytes), in_units(RESERVE_BYTES)
        raise DiskFull(
            f"{needed} are to be downloaded and {reserve} must stay free, "
            f"but the disk has {in_units(free_bytes)} free.",
            hint="remove a model (`hearth rm NAME`), choose a smaller precision, or set HF_HOME "
            "or MODELSCOPE_CACHE to another disk",
        )


def in_units(num_bytes: int) -> str:
    """Bytes for people, in decimal units as disks are sold: `4.68 GB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.2f} {unit}"
    return f"{num_bytes} bytes"


def _announce(listing: Listing, selection: Selection, missing: int, meter: Meter) -> None:
    here = "" if missing == meter.total_bytes else "; a part of it is here already"
    meter.note(f"{listing.repo} on {HUB_TITLES[listing.hub]}, commit {listing.commit[:12]}{here}")
    if selection.note is not None:
        meter.note(selection.note)


def _fetch(
    client: HubClient,
    listing: Listing,
    wanted: Wanted,
    selection: Selection,
    files: list[RemoteFile],
    meter: Meter,
    *,
    allows_code: bool,
) -> Pulled:
    paths = {file.path: _download(client, listing, file, meter) for file in selection.texts}  # 4
    folder = _folder_of(paths)
    if folder is not None:
        _check_texts(folder, listing, selection, wanted, allows_code=allows_code)
    for file in files[len(paths) :]:  # 5
        paths[file.path] = _download(client, listing, file, meter)
    meter.done()
    folder = _folder_of(paths)
    assert folder is not None
    return Pulled(
        listing,
        selection.format,
        selection.precision or checkpoint.precision(folder),
        folder,
        selection.main,
        tuple(_recorded(file, paths[file.path]) for file in files),
        int(time.time()),
    )


def _download(client: HubClient, listing: Listing, file: RemoteFile, meter: Meter) -> Path:
    meter.begin(file.path)
    path = client.download(listing, file, meter.at)
    meter.finish(file.num_bytes)
    return path


def _check_texts(
    folder: Path, listing: Listing, selection: Selection, wanted: Wanted, *, allows_code: bool
) -> None:
    names = [file.path for file in selection.texts]
    if not allows_code:
        refuse_code(wanted.title, listing, checkpoint.code_needed(folder, names))
    if selection.format == "safetensors":
        named = checkpoint.indexed_files(folder, names)
        lost = sorted(named - {file.path for file in selection.weights})
        if lost:
            raise BadWeights(f"The index names '{lost[0]}', which the repository does not have.")


def _code(listing: Listing) -> tuple[RemoteFile, ...]:
    """The Python files at the top of a repository whose code was allowed at this commit."""
    return tuple(
        file for file in listing.files if "/" not in file.path and file.path.endswith(".py")
    )


def _folder_of(paths: dict[str, Path]) -> Path | None:
    """The folder that all files lie below, by the first of them."""
    for relative, path in paths.items():
        return Path(*path.parts[: len(path.parts) - len(Path(relative).parts)])
    return None


def _recorded(file: RemoteFile, path: Path) -> RecordedFile:
    sha256 = file.sha256 or transfer.file_digest(path, "sha256")
    return RecordedFile(file.path, file.num_bytes, sha256.lower())
