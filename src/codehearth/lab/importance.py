"""Importance matrices: how much each column of a matrix matters, from what enters it.

The form is llama.cpp's: for each matrix the sums of squares of its inputs and how many inputs there
were, in a GGUF file as `llama-imatrix` writes it; its older `.dat` form is read too. Layout:
https://github.com/ggml-org/llama.cpp/blob/master/tools/imatrix/README.md
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codehearth.errors import BadWeights, InvalidRequest
from codehearth.lab import gguf_bytes
from codehearth.lab.gguf_bytes import Described
from codehearth.models.gguf_header import GgufHeader, read_gguf_header
from codehearth.models.whole_file import write_whole

_SUMS, _COUNTS = ".in_sum2", ".counts"
_MAX_FILE_BYTES = 4 << 30
_MAX_ENTRIES = 1 << 17

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Importance:
    """`values` holds for each matrix (M, N): M matrices in one tensor (experts), N columns."""

    path: Path
    sha256: str
    title: str
    num_chunks: int
    values: Mapping[str, Array]


def is_importance(path: Path) -> bool:
    """Whether a file is a ready matrix and no text; raises InvalidRequest where it is not there."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF" or path.suffix.lower() == ".dat"
    except OSError as error:
        raise InvalidRequest(f"'{path}' cannot be read: {error.strerror}.") from error


def read_importance(path: Path) -> Importance:
    """Raises BadWeights for what is no importance matrix, or holds what is no number."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise BadWeights(f"'{path.name}' is too large for an importance matrix.")
        raw = path.read_bytes()
    except OSError as error:
        raise BadWeights(f"'{path.name}' cannot be read: {error.strerror}.") from error
    try:
        title, num_chunks, values = (
            _of_gguf(path, raw) if raw[:4] == b"GGUF" else _of_dat(path, raw)
        )
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise BadWeights(f"'{path.name}' is no importance matrix.") from error
    for name, found in values.items():
        if not np.isfinite(found).all() or (found < 0).any():
            raise BadWeights(f"'{path.name}' holds what is no importance, for '{name}'.")
    return Importance(path, hashlib.sha256(raw).hexdigest(), title, num_chunks, values)


def write_importance(
    path: Path,
    sums: Mapping[str, Array],
    counts: Mapping[str, Array],
    *,
    title: str,
    num_chunks: int,
    chunk_tokens: int,
) -> None:
    """`sums` are (M, N), `counts` (M,); raises OSError."""
    facts = (
        gguf_bytes.text("general.type", "imatrix"),
        gguf_bytes.texts("imatrix.datasets", (title,)),
        gguf_bytes.whole("imatrix.chunk_count", num_chunks),
        gguf_bytes.whole("imatrix.chunk_size", chunk_tokens),
    )
    described: list[Described] = []
    content: list[bytes] = []
    position = 0
    for name in sorted(sums):
        for ending, array in ((_SUMS, sums[name]), (_COUNTS, counts[name][:, None])):
            raw = np.ascontiguousarray(array, "<f4").tobytes()
            shape = tuple(reversed(array.shape))
            described.append(Described(name + ending, shape, "F32", position))
            raw += bytes(-len(raw) % gguf_bytes.ALIGNMENT)
            content.append(raw)
            position += len(raw)
    write_whole(path, gguf_bytes.header(facts, described) + b"".join(content))


def _of_gguf(path: Path, raw: bytes) -> tuple[str, int, dict[str, Array]]:
    header = read_gguf_header(path)
    if header.metadata.get("general.type") != "imatrix":
        raise BadWeights(f"'{path.name}' is a GGUF file, but no importance matrix.")
    found = dict(_tensors(path, header, raw))
    values = {}
    for name in (one.removesuffix(_SUMS) for one in found if one.endswith(_SUMS)):
        sums, counts = found[name + _SUMS], found.get(name + _COUNTS)
        if counts is None:
            raise ValueError(name)
        counts = counts.reshape(-1, 1)
        sums = sums.reshape(len(counts), -1)
        # An expert that no token came to: all of its columns count alike.
        values[name] = np.where(counts > 0, sums / np.maximum(counts, 1), 1).astype(np.float32)
    facts, _ = gguf_bytes.read_facts(path)
    title = gguf_bytes.text_of(facts, "imatrix.datasets")
    chunks = header.metadata.get("imatrix.chunk_count")
    return title, chunks if isinstance(chunks, int) else 0, values


def _tensors(path: Path, header: GgufHeader, raw: bytes) -> Iterator[tuple[str, Array]]:
    facts, offset = gguf_bytes.read_facts(path)
    alignment = gguf_bytes.number_of(facts, "general.alignment") or gguf_bytes.ALIGNMENT
    for tensor in header.tensors:
        if tensor.type_name != "F32":
            raise ValueError(tensor.name)
        shape = tuple(reversed(tensor.shape))
        yield tensor.name, np.frombuffer(raw, "<f4", tensor.num_elements, offset).reshape(shape)
        offset += tensor.num_bytes + -tensor.num_bytes % alignment


def _of_dat(path: Path, raw: bytes) -> tuple[str, int, dict[str, Array]]:
    """The number of entries; for each its name, calls and sums; then the chunks and the text."""
    words = _Words(raw)
    num_entries = words.whole()
    if not 0 < num_entries <= _MAX_ENTRIES:
        raise ValueError("entries")
    values = {}
    for _ in range(num_entries):
        name = words.text()
        num_calls, num_values = words.whole(), words.whole()
        sums = words.floats(num_values)
        values[name] = (sums / max(num_calls, 1)).astype(np.float32).reshape(1, -1)
    num_chunks = words.whole() if words.has_more else 0
    title = words.text() if words.has_more else ""
    return title, num_chunks, values


class _Words:
    """Reads the older form; raises struct.error and ValueError where it ends too soon."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    @property
    def has_more(self) -> bool:
        return self._at < len(self._raw)

    def whole(self) -> int:
        (value,) = struct.unpack_from("<i", self._raw, self._at)
        self._at += 4
        return int(value)

    def text(self) -> str:
        length = self.whole()
        return self._taken(length).decode()

    def floats(self, count: int) -> Array:
        return np.frombuffer(self._taken(4 * count), "<f4")

    def _taken(self, num_bytes: int) -> bytes:
        taken = self._raw[self._at : self._at + num_bytes]
        if num_bytes < 0 or len(taken) != num_bytes:
            raise ValueError("cut off")
        self._at += num_bytes
        return taken


def matrix_of(values: Array, shape: Sequence[int]) -> Array | None:
    """The importance of a tensor of `shape` (innermost first) as (M, N); None where it is of
    another shape. One of a single matrix holds for all matrices of the tensor."""
    num_matrices = 1
    for size in shape[2:]:
        num_matrices *= size
    if values.size == shape[0]:
        return values.reshape(1, -1)
    if values.size == shape[0] * num_matrices:
        return values.reshape(num_matrices, -1)
    return None
