"""What a measurement that is under way keeps on disk, so that one that was cut off goes on.

    measuring-IDENTITY/logits        the reference's, as large as `Windows.logits_bytes` says
    measuring-IDENTITY/KEY.json      the scores of a precision that was read to its end

The identity is that of the reference and of all windows. The folder is deleted when the block ends;
what was stopped stays until the same is measured again, or anything else is.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from codehearth.errors import DiskFull, Overloaded
from codehearth.lab.scoring import Scores, Windows
from codehearth.models.whole_file import write_whole
from codehearth.models.words import in_bytes

_PREFIX = "measuring-"
_LOCK = "lock"
_SPARE_BYTES = 256 << 20


class Kept:
    """The folder of one measurement, in use by this process alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def logits(self) -> Path:
        return self._folder / "logits"

    def scores(self, key: str) -> Scores | None:
        """Those that were kept under this key, or None."""
        try:
            table = json.loads(self._file(key).read_bytes())
            greedy = tuple(map(tuple, table.pop("greedy")))
            return Scores(greedy=greedy, **{name: tuple(table[name]) for name in table})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, key: str, scores: Scores) -> None:
        write_whole(self._file(key), json.dumps(asdict(scores)))

    def _file(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


@contextmanager
def kept(
    windows: Windows, reference: str, folder: Path, free_bytes: Callable[[Path], int]
) -> Iterator[Kept]:
    """A place for the reference's logits and for scores; `reference` is the file's hash.

    Raises DiskFull, and Overloaded where another command measures the same.
    """
    facts = (reference, windows.windows, windows.prompts, windows.vocabulary_size)
    identity = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    place = folder / f"{_PREFIX}{identity}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder, place)
        _require_room(windows, place, free_bytes)
        place.mkdir(exist_ok=True)
        lock = (place / _LOCK).open("w")
    except OSError as error:
        raise DiskFull(f"The folder cannot be written ({error.strerror}).") from error
    with lock:
        if not _is_ours(lock):
            raise Overloaded("The same is being measured by another command.")
        try:
            yield Kept(place)
        except (KeyboardInterrupt, SystemExit):
            raise  # the same command goes on from here
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        shutil.rmtree(place, ignore_errors=True)


def _require_room(windows: Windows, place: Path, free_bytes: Callable[[Path], int]) -> None:
    logits = place / "logits"
    there = logits.stat().st_size if logits.is_file() else 0
    free = free_bytes(place.parent)
    if windows.logits_bytes - there + _SPARE_BYTES > free:
        raise DiskFull(
            f"The reference's logits take {in_bytes(windows.logits_bytes)} while measuring; "
            f"{in_bytes(free)} are free.",
            hint="free some space, or take a shorter --text",
        )


def _sweep(folder: Path, ours: Path) -> None:
    """Deletes what other measurements left that are not under way any more."""
    for place in folder.glob(f"{_PREFIX}*"):
        if place == ours or not place.is_dir():
            continue
        with (place / _LOCK).open("a") as lock:
            if _is_ours(lock):
                shutil.rmtree(place, ignore_errors=True)


def _is_ours(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
