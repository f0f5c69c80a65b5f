"""Writes one model's tensors in other types: a child of `quantize.py`.

The job comes as JSON on standard input, what happens goes out as JSON lines. The file's header is
there already; tensor after tensor is appended, each in chunks of rows that pass through 32-bit
floats, so that memory does not grow with the model. After some megabytes the data is flushed to
disk and the journal says how many tensors are whole: a job that was killed goes on from there.

Rows are quantised by llama.cpp's own code (`library`), on as many threads as the job says: its
functions do not hold Python's lock.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np

from codehearth.lab import library
from codehearth.lab.importance import matrix_of, read_importance
from codehearth.lab.mixture import BLOCK_BYTES, BLOCK_SIZES
from codehearth.lab.plain_numbers import plain_floats

_CHUNK_ELEMENTS = 1 << 20
_JOURNAL_EVERY_BYTES = 4 << 20
_LARGEST_F16 = 65504.0

EXIT_REFUSED = 3

Array = np.ndarray[Any, np.dtype[Any]]


class Refused(Exception):
    """What is wrong with the source, for the user: `kind` is an error class of the house."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def main() -> int:
    job = json.load(sys.stdin)
    try:
        digest = write(job)
    except Refused as error:
        _tell({"error": error.kind, "message": str(error)})
        return EXIT_REFUSED
    except library.LibraryChanged as error:
        _tell({"error": "EngineFailed", "message": f"Nothing was quantised: {error}."})
        return EXIT_REFUSED
    except OSError as error:
        line = {"error": "BadWeights", "message": f"{error.strerror or error}"}
        if error.errno in (28, 122):  # no space, over quota
            hint = "free some space and run it again: it goes on from there"
            line |= {"error": "DiskFull", "hint": hint}
        _tell(line)
        return EXIT_REFUSED
    _tell({"sha256": digest})
    return 0


def write(job: dict[str, Any]) -> str:
    """Appends the tensors that are missing; the sha256 of the whole file."""
    native = library.load()
    native.ggml_cpu_init()
    with Path(job["target"]).open("r+b") as target:
        digest = hashlib.sha256()
        _digest_start(target, job["start_offset"], digest)
        target.truncate(job["start_offset"])
        target.seek(job["start_offset"])
        with ThreadPoolExecutor(job["num_threads"]) as pool:
            _give_importance(job)
            _append(job, native, pool, target, digest)
        return digest.hexdigest()


def _give_importance(job: dict[str, Any]) -> None:
    """Each tensor with what is known of its columns, (M, N), as `importance`."""
    path = job["importance"]
    values = read_importance(Path(path)).values if path else {}
    for tensor in job["tensors"]:
        found = values.get(tensor["name"])
        shape = (
            tensor["row"],
            tensor["rows_of_matrix"],
            tensor["rows"] // tensor["rows_of_matrix"],
        )
        known = None if found is None else matrix_of(found, shape)
        tensor["importance"] = known if known is None else np.ascontiguousarray(known, np.float32)


def _digest_start(target: IO[bytes], num_bytes: int, digest: Any) -> None:
    left = num_bytes
    while left:
        part = target.read(min(left, 1 << 22))
        if not part:
            raise Refused("BadWeights", "The unfinished file is shorter than its journal says.")
        digest.update(part)
        left -= len(part)


def _append(
    job: dict[str, Any], native: Any, pool: ThreadPoolExecutor, target: IO[bytes], digest: Any
) -> None:
    """All chunks of all missing tensors: computed side by side, written in their order."""
    ahead: deque[tuple[Future[bytes], int, bool]] = deque()
    unsaved = 0
    for future, index, is_last in _started(job, native, pool, ahead):
        content = future.result()
        if is_last:
            content += bytes(-(target.tell() + len(content)) % job["alignment"])
        target.write(content)
        digest.update(content)
        unsaved += len(content)
        if is_last:
            _tell({"done": index + 1})
            if unsaved >= _JOURNAL_EVERY_BYTES or index + 1 == len(job["tensors"]):
                _save(job, target, index + 1)
                unsaved = 0


def _started(
    job: dict[str, Any],
    native: Any,
    pool: ThreadPoolExecutor,
    ahead: deque[tuple[Future[bytes], int, bool]],
) -> Iterator[tuple[Future[bytes], int, bool]]:
    """Chunks in order, each handed out when a few more are under way."""
    for index in range(job["start"], len(job["tensors"])):
        tensor = job["tensors"][index]
        chunks = list(_chunks(tensor))
        for number, (first, count) in enumerate(chunks):
            future = pool.submit(_converted, native, tensor, first, count)
            ahead.append((future, index, number == len(chunks) - 1))
            if len(ahead) > 2 * job["num_threads"]:
                yield ahead.popleft()
    while ahead:
        yield ahead.popleft()


def _chunks(tensor: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Ranges of rows of about a million numbers; a head is never cut, nor are rows of two matrices
    with an importance of their own in one."""
    row, rows = tensor["row"], tensor["rows"]
    step = max(1, _CHUNK_ELEMENTS // row)
    if tensor["heads"]:
        head = rows // tensor["heads"]
        step = max(head, step // head * head)
    importance = tensor["importance"]
    part = rows if importance is None or len(importance) == 1 else tensor["rows_of_matrix"]
    for begin in range(0, rows, part):
        for first in range(begin, begin + part, step):
            yield first, min(step, begin + part - first)


def _converted(native: Any, tensor: dict[str, Any], first: int, count: int) -> bytes:
    """Rows of a tensor in its new type."""
    raw = _read_rows(tensor, first, count)
    old, new = tensor["type"], tensor["to"]
    if old == new and not tensor["heads"]:
        _check_finite(tensor, _floats(native, old, raw) if old in ("F32", "F16", "BF16") else None)
        return raw
    values = _floats(native, old, raw)
    _check_finite(tensor, values)
    if tensor["heads"]:
        num_heads = count * tensor["heads"] // tensor["rows"]
        values = _interleaved(values, num_heads, tensor["row"])
    return _stored(native, tensor, values, first, count)


def _read_rows(tensor: dict[str, Any], first: int, count: int) -> bytes:
    if tensor["inline"]:
        return bytes.fromhex(tensor["inline"])
    row_bytes = tensor["row"] // BLOCK_SIZES[tensor["type"]] * BLOCK_BYTES[tensor["type"]]
    with Path(tensor["path"]).open("rb") as file:
        file.seek(tensor["offset"] + first * row_bytes)
        raw = file.read(count * row_bytes)
    if len(raw) != count * row_bytes:
        raise Refused("BadWeights", f"'{tensor['name']}' is cut off.")
    return raw


def _floats(native: Any, type_name: str, raw: bytes) -> Array:
    plain = plain_floats(type_name, raw)
    if plain is not None:
        return plain
    match type_name:
        case "F64":
            return np.frombuffer(raw, "<f8").astype(np.float32)
        case "I8" | "I16" | "I32" | "I64":
            return np.frombuffer(raw, f"<i{type_name[1:]}").astype(np.float32)
    traits = native.ggml_get_type_traits(library.TYPE_NUMBERS[type_name]).contents
    if not traits.to_float:
        raise Refused("BadWeights", f"Tensors of type {type_name} cannot be read.")
    count = len(raw) // BLOCK_BYTES[type_name] * BLOCK_SIZES[type_name]
    values = np.empty(count, np.float32)
    to_float = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64)(
        traits.to_float
    )
    to_float(raw, values.ctypes.data, count)
    return values


def _check_finite(tensor: dict[str, Any], values: Array | None) -> None:
    if values is None:
        return
    # The sum is finite unless a number is not (or it overflows, then each is looked at).
    with np.errstate(all="ignore"):
        if np.isfinite(values.sum()):
            return
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        kind = "NaN" if np.isnan(values).any() else "infinity"
        raise Refused("BadWeights", f"The tensor '{tensor['name']}' holds {kind} ({bad} numbers).")


def _interleaved(values: Array, num_heads: int, row: int) -> Array:
    """Of each head, row i of the first half and then row i of the second."""
    halves = values.reshape(num_heads, 2, -1, row)
    return halves.swapaxes(1, 2).reshape(-1)


def _stored(native: Any, tensor: dict[str, Any], values: Array, first: int, count: int) -> bytes:
    new = tensor["to"]
    values = np.ascontiguousarray(values, dtype=np.float32)
    if new == "F32":
        return values.tobytes()
    if new == "F16" and values.size and float(np.abs(values).max()) > _LARGEST_F16:
        raise Refused(
            "BadWeights",
            f"The tensor '{tensor['name']}' holds numbers too large for f16; bf16 can hold them.",
        )
    row = tensor["row"]
    stored = ctypes.create_string_buffer(count * (row // BLOCK_SIZES[new] * BLOCK_BYTES[new]))
    written = native.ggml_quantize_chunk(
        library.TYPE_NUMBERS[new],
        values.ctypes.data,
        stored,
        0,
        count,
        row,
        _importance_of(tensor, first),
    )
    if written != len(stored):
        raise Refused("BadWeights", f"The tensor '{tensor['name']}' could not be quantised.")
    return stored.raw


def _importance_of(tensor: dict[str, Any], first: int) -> int | None:
    """The address of what is known of the columns of the matrix that row `first` is in."""
    importance = tensor["importance"]
    if importance is None:
        return None
    matrix = first // tensor["rows_of_matrix"] if len(importance) > 1 else 0
    return int(importance[matrix].ctypes.data)


def _save(job: dict[str, Any], target: IO[bytes], num_done: int) -> None:
    """The data is on disk before the journal says so."""
    target.flush()
    os.fsync(target.fileno())
    journal = Path(job["journal"])
    temporary = journal.with_name(f"{journal.name}.new")
    saved = {"identity": job["identity"], "num_done": num_done, "num_bytes": target.tell()}
    temporary.write_text(json.dumps(saved), encoding="utf-8")
    temporary.replace(journal)


def _tell(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
