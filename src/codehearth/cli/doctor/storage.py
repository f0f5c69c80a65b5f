"""The data folder: whether it can be written, who may read it, and the room on its disk."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from codehearth.cli.doctor.check import Check
from codehearth.cli.output import size
from codehearth.errors import HearthError
from codehearth.settings import Settings

_LOW_DISK_BYTES = 10 * 2**30
_NO_DISK_BYTES = 2**30


def data_folder(folder: Path) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        problem = f"{folder} is a file, and a folder is wanted"
        return Check("data folder", "fail", problem, "name another with HEARTH_DATA")
    except OSError as error:
        problem = f"{folder} cannot be written: {error.strerror or error}"
        return Check("data folder", "fail", problem, "name another with HEARTH_DATA")
    return Check("data folder", "ok", str(folder))


def is_folder(path: Path) -> bool:
    """Whether there is a folder that can be looked at."""
    try:
        return path.is_dir()
    except PermissionError:  # until Python 3.14 `is_dir` raises it
        return False


def permissions(folder: Path) -> Check | None:
    """Whether others may read keys and conversations; None where there is no such folder."""
    if not is_folder(folder):
        return None
    facts = folder.stat()
    if facts.st_uid != os.getuid():
        detail = f"{folder} belongs to another user (number {facts.st_uid})"
        return Check("permissions", "warn", detail, f"`sudo chown -R $(id -un) {folder}`")
    mode = stat.S_IMODE(facts.st_mode)
    if mode & 0o077:
        detail = f"others may look into {folder} (mode {mode:o}): keys and conversations lie there"
        return Check("permissions", "warn", detail, f"`chmod 700 {folder}`")
    return Check("permissions", "ok", "only this user can read the data folder")


def disks(settings: Settings) -> Iterator[Check]:
    """Room where records and models go; one line for places on the same disk."""
    from codehearth.models.hubs import hub_places

    try:
        places = hub_places(os.environ)
    except HearthError as error:
        yield Check("disk", "fail", error.message, error.hint)
        return
    seen: set[int] = set()
    for folder in (settings.data, places.huggingface_cache, places.modelscope_cache):
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if (device := existing.stat().st_dev) not in seen:
            seen.add(device)
            yield _disk(folder, existing)


def _disk(folder: Path, existing: Path) -> Check:
    free = shutil.disk_usage(existing).free
    detail = f"{size(free)} free for {folder}"
    if free < _NO_DISK_BYTES:
        return Check("disk", "fail", detail, "make room: downloads keep 1 GiB free")
    if free < _LOW_DISK_BYTES:
        return Check("disk", "warn", detail, "models of 7B take about 5 GiB")
    return Check("disk", "ok", detail)
