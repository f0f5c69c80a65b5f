"""The packaged model as Hugging Face has checkpoints, in bf16: made of its GGUF when it is wanted.

    starter-bf16/               below the data folder: whole, or not there
    starter-bf16.json           what it was made of, and each file's size and hash; written last
    starter-bf16.unfinished/    one that is being made, or that a kill left
    starter-bf16.lock           who makes it holds this, others wait

It is looked at each time that it is wanted, and made anew where a file is damaged or gone, or where
it was made of another GGUF. What the conversion is, the lab knows: it is handed in.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from codehearth.errors import DiskFull
from codehearth.models.catalogue import catalogue
from codehearth.models.local_models import LocalModel
from codehearth.models.names import is_safe_file_path
from codehearth.models.starter import STARTER, sha256_of, starter
from codehearth.models.whole_file import write_whole

STARTER_CHECKPOINT = "starter:bf16"
# Of the conversion: a new number makes every checkpoint anew.
CONVERSION = 1

# Writes the checkpoint of a GGUF file into an empty folder; raises OSError and HearthError.
WriteCheckpoint = Callable[[Path, Path], None]


@dataclass(frozen=True)
class _Record:
    """`gguf` is the hash of what it was made of, `files` has each file's, `sizes` its bytes."""

    gguf: str = ""
    conversion: int = 0
    created_at: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)


class StarterCheckpoint:
    def __init__(self, data_dir: Path, write: WriteCheckpoint) -> None:
        self.folder = data_dir / "starter-bf16"
        self._record_path = data_dir / "starter-bf16.json"
        self._unfinished = data_dir / "starter-bf16.unfinished"
        self._lock = data_dir / "starter-bf16.lock"
        self._write = write

    def here(self) -> LocalModel:
        """The checkpoint as it lies there, unchecked; one that is not there has no files."""
        record = self._record()
        return LocalModel(
            name=STARTER_CHECKPOINT,
            path=self.folder,
            format="safetensors",
            precision="bf16",
            num_bytes=sum(record.sizes.values()),
            source="package",
            row=catalogue()[STARTER],
            sha256=record.files,
            created_at=record.created_at,
            folder=self.folder,
            files=tuple(sorted(record.files)),
            sizes=record.sizes,
        )

    def whole(self) -> LocalModel:
        """The checkpoint of the GGUF in this package, made where it is not there as it should be.

        Raises BadWeights for a damaged GGUF, and DiskFull where the folder cannot be written.
        """
        gguf = starter()
        digest = gguf.sha256[gguf.path.name]
        if not self._is_current(digest):
            with _or_disk_full(), self._alone():
                if not self._is_current(digest):  # another process may have made it meanwhile
                    self._make(gguf.path, digest)
        return self.here()

    def remove(self) -> int:
        """Deletes it, with what a kill left; the bytes freed."""
        places = (self.folder, self._unfinished)
        if not any(place.exists() for place in places):
            return 0
        with _or_disk_full(), self._alone():
            found = [path for place in places for path in place.rglob("*") if path.is_file()]
            num_bytes = sum(path.stat().st_size for path in found)
            self._record_path.unlink(missing_ok=True)
            for place in places:
                shutil.rmtree(place, ignore_errors=True)
        return num_bytes

    def _is_current(self, digest: str) -> bool:
        record = self._record()
        if not record.files or (record.gguf, record.conversion) != (digest, CONVERSION):
            return False
        try:
            return all(
                sha256_of(self.folder / file) == expected for file, expected in record.files.items()
            )
        except OSError:
            return False

    def _make(self, gguf: Path, digest: str) -> None:
        shutil.rmtree(self._unfinished, ignore_errors=True)
        try:
            self._unfinished.mkdir()
            self._write(gguf, self._unfinished)
            paths = sorted(self._unfinished.iterdir())
            record = _Record(
                gguf=digest,
                conversion=CONVERSION,
                created_at=int(time.time()),
                files={path.name: sha256_of(path) for path in paths},
                sizes={path.name: path.stat().st_size for path in paths},
            )
            self._record_path.unlink(missing_ok=True)  # of what lay here
            shutil.rmtree(self.folder, ignore_errors=True)
            self._unfinished.replace(self.folder)
            write_whole(self._record_path, json.dumps(asdict(record), indent=1))
        except BaseException:  # an interrupt too leaves nothing
            shutil.rmtree(self._unfinished, ignore_errors=True)
            raise

    def _record(self) -> _Record:
        """What the record says; an empty one where it is missing or not sound."""
        try:
            record = _Record(**json.loads(self._record_path.read_bytes()))
            is_sound = (
                record.files.keys() == record.sizes.keys()
                and all(map(is_safe_file_path, record.files))
                and all(isinstance(size, int) for size in record.sizes.values())
                and isinstance(record.created_at, int)
            )
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return _Record()
        return record if is_sound else _Record()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time; the others wait, it takes a second."""
        self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextmanager
def _or_disk_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskFull(
            f"'{STARTER_CHECKPOINT}' cannot be written to the data folder ({error.strerror}): it "
            "is made of the packaged GGUF when it is first wanted.",
            hint="free some space, or let HEARTH_DATA name a folder that can be written",
        ) from error
