"""One model in another precision: planned, computed by a child, put where the store finds it.

1. The source's headers are checked and the new file is laid out (`layout`).
2. The unfinished file and its journal lie beside the place of the result. If they belong to the
   same job, the child goes on behind the last whole tensor.
3. The child (`quantizer`) appends the tensors, in an environment without secrets.
4. The header of the result is read as any stranger's would be; then it gets its name at once, and
   the record that the store reads is written last.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from codehearth.errors import DiskFull, EngineFailed
from codehearth.lab.child import child_lines
from codehearth.lab.layout import Layout
from codehearth.models.gguf_header import read_gguf_header
from codehearth.models.made import JOURNAL, UNFINISHED, Made, MadeModel, made_alone
from codehearth.models.words import in_bytes

# Left for everybody else on the disk.
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class Progress:
    """So many bytes of the new file are there. `resumed_bytes` were there already."""

    done_bytes: int
    total_bytes: int
    tensor: str
    resumed_bytes: int = 0


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True)
class Quantised:
    """What was made: its figures are those of the file, not of a table."""

    name: str
    precision: str
    path: Path
    num_bytes: int
    num_parameters: int
    bits_per_weight: float
    types: dict[str, int]
    num_fallbacks: int
    sha256: str
    seconds: float
    was_there: bool = False

    def as_document(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path)}


def run(
    laid_out: Layout,
    made: Made,
    model: MadeModel,
    *,
    num_threads: int,
    free_bytes: Callable[[Path], int],
    progress: ProgressCallback,
) -> Quantised:
    """Makes `model` as laid out; one that is there and whole is left as it is.

    Raises BadWeights for a damaged source, DiskFull, EngineFailed, and Overloaded where another
    command is making the same file.
    """
    started = time.monotonic()
    identity = laid_out.identity()
    target = made.path_of(model)
    present = made.get(model.name)
    if present is not None and present.identity == identity and target.is_file():
        return _result(laid_out, present, target, 0.0, was_there=True)
    with made_alone(target):
        partial = target.with_name(target.name + UNFINISHED)
        journal = target.with_name(target.name + JOURNAL)
        num_done = _resumable(partial, journal, laid_out, identity)
        start = laid_out.start_of(num_done)
        require_room(laid_out.num_bytes - start, target.parent, free_bytes)
        if num_done == 0:
            _write_header(partial, laid_out.header)
        job = _job(laid_out, partial, journal, identity, num_done, num_threads)
        sha256 = _computed(job, laid_out, start if num_done else 0, progress)
        _check(partial, laid_out)
        whole = replace(model, identity=identity, sha256=sha256, num_bytes=laid_out.num_bytes)
        record = made.put(whole, partial)
        journal.unlink(missing_ok=True)
    return _result(laid_out, record, target, time.monotonic() - started)


def _resumable(partial: Path, journal: Path, laid_out: Layout, identity: str) -> int:
    """How many tensors of the same job are there already."""
    try:
        saved = json.loads(journal.read_text(encoding="utf-8"))
        num_done = int(saved["num_done"])
        is_same = saved["identity"] == identity and 0 < num_done <= len(laid_out.tensors)
        is_there = partial.stat().st_size >= laid_out.start_of(num_done)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return 0
    return num_done if is_same and is_there else 0


def require_room(num_bytes: int, folder: Path, free_bytes: Callable[[Path], int]) -> None:
    """Raises DiskFull."""
    free = free_bytes(folder)
    if num_bytes + _SPARE_BYTES > free:
        raise DiskFull(
            f"{in_bytes(num_bytes)} are to be written, {in_bytes(free)} are free.",
            hint="free some space, or set --data to a folder on a larger disk",
        )


def _write_header(partial: Path, header: bytes) -> None:
    try:
        partial.write_bytes(header)
    except OSError as error:
        raise DiskFull(f"The file cannot be written ({error.strerror}).") from error


def _job(
    laid_out: Layout, partial: Path, journal: Path, identity: str, num_done: int, num_threads: int
) -> dict[str, Any]:
    return {
        "target": str(partial),
        "journal": str(journal),
        "identity": identity,
        "start": num_done,
        "start_offset": laid_out.start_of(num_done),
        "num_threads": num_threads,
        "alignment": 32,
        "importance": str(laid_out.importance.path) if laid_out.importance else "",
        "tensors": [
            {
                "name": placed.source.name,
                "path": str(placed.source.path),
                "offset": placed.source.offset,
                "type": placed.source.type_name,
                "to": placed.type_name,
                "row": placed.source.shape[0],
                "rows": placed.source.num_elements // placed.source.shape[0],
                "rows_of_matrix": (*placed.source.shape, 1)[1],
                "heads": placed.source.num_heads,
                "inline": placed.source.inline.hex(),
            }
            for placed in laid_out.tensors
        ],
    }


def _computed(
    job: dict[str, Any], laid_out: Layout, resumed_bytes: int, progress: ProgressCallback
) -> str:
    """Runs the child to its end; the sha256 of the file that it has written."""
    sha256 = ""
    for line in child_lines("codehearth.lab.quantizer", job):
        if "done" in line:
            index = int(line["done"])
            name = laid_out.tensors[index - 1].source.name
            done = laid_out.start_of(index)
            progress(Progress(done, laid_out.num_bytes, name, resumed_bytes))
        sha256 = line.get("sha256", sha256)
    if not sha256:
        raise EngineFailed("The quantiser ended without a result.", retry_after_s=None)
    return sha256


def _check(partial: Path, laid_out: Layout) -> None:
    """The result must read as the file that was laid out."""
    header = read_gguf_header(partial)
    found = [(tensor.name, tensor.type_name) for tensor in header.tensors]
    expected = [(placed.source.name, placed.type_name) for placed in laid_out.tensors]
    if found != expected or header.file_bytes != laid_out.num_bytes:
        raise EngineFailed("The quantiser has written another file than planned.")


def _result(
    laid_out: Layout, record: MadeModel, target: Path, seconds: float, *, was_there: bool = False
) -> Quantised:
    return Quantised(
        name=record.name,
        precision=laid_out.recipe.precision,
        path=target,
        num_bytes=laid_out.num_bytes,
        num_parameters=laid_out.num_parameters,
        bits_per_weight=laid_out.bits_per_weight,
        types=dict(laid_out.types),
        num_fallbacks=len(laid_out.fallbacks),
        sha256=record.sha256,
        seconds=seconds,
        was_there=was_there,
    )
