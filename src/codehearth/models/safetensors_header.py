"""Reads the header of one safetensors file without trusting it.

Layout (https://huggingface.co/docs/safetensors): eight bytes of length, that many bytes of JSON,
data. The JSON is bounded in length, and in how many values it can unfold to, before it is parsed.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codehearth.errors import BadWeights

MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 1 << 17
MAX_DIMENSIONS = 16
# An empty list takes two bytes of JSON and about sixty of memory; so the commas and brackets of a
# header are counted before it is parsed. 131,072 tensors need a million of them.
MAX_JSON_MARKS = 2_000_000

# Bits of one number, by the names the format uses.
DTYPE_BITS: dict[str, int] = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
    "C64": 64,
    "I64": 64,
    "I32": 32,
    "I16": 16,
    "I8": 8,
    "U64": 64,
    "U32": 32,
    "U16": 16,
    "U8": 8,
    "BOOL": 8,
}


@dataclass(frozen=True)
class SafeTensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    num_bytes: int

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)


def read_safetensors_header(path: Path) -> tuple[SafeTensor, ...]:
    """The tensors of the file at `path`, in the file's order; raises BadWeights."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadWeights(f"'{path.name}' is not a regular file.")
        with path.open("rb") as file:
            start = file.read(8)
            num_header_bytes = int.from_bytes(start, "little")
            if len(start) < 8 or num_header_bytes > status.st_size - 8:
                raise _bad(path, "is damaged, cut off or no safetensors file")
            if num_header_bytes > MAX_HEADER_BYTES:
                raise _bad(path, f"has a header of {num_header_bytes} bytes")
            content = file.read(num_header_bytes)
    except OSError as error:
        raise BadWeights(f"'{path.name}' cannot be read: {error.strerror}.") from error
    header = parse_bounded(content, path.name)
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise _bad(path, f"claims {len(header)} tensors")
    entries = [_entry(path, name, entry) for name, entry in header.items()]
    _check_layout(path, entries, status.st_size - 8 - num_header_bytes)
    return tuple(tensor for tensor, _, _ in entries)


def parse_bounded(content: bytes, file_name: str) -> dict[str, Any]:
    """A JSON object out of a file; raises BadWeights for anything else and for too much of it."""
    if sum(content.count(mark) for mark in (b",", b"[", b"{")) > MAX_JSON_MARKS:
        raise BadWeights(f"'{file_name}' holds too many values.", hint="download the file again")
    try:
        value = json.loads(content, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadWeights(
            f"'{file_name}' does not hold the JSON that it should.", hint="download the file again"
        ) from error
    if not isinstance(value, dict):
        raise BadWeights(f"'{file_name}' holds no JSON object.", hint="download the file again")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two entries of one name are read differently by different programs, so they are refused."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name occurs twice")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _entry(path: Path, name: str, entry: object) -> tuple[SafeTensor, int, int]:
    if not isinstance(entry, dict):
        raise _bad(path, f"does not describe '{name[:80]}'")
    dtype = entry.get("dtype")
    shape, offsets = _counts(entry.get("shape")), _counts(entry.get("data_offsets"))
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _bad(path, f"stores '{name[:80]}' in the unknown type {str(dtype)[:20]!r}")
    if shape is None or offsets is None or len(offsets) != 2:
        raise _bad(path, f"gives '{name[:80]}' no proper shape or place")
    start, end = offsets
    tensor = SafeTensor(name, dtype, shape, end - start)
    num_bits = tensor.num_elements * DTYPE_BITS[dtype]
    if num_bits != 8 * (end - start):
        raise _bad(path, f"gives '{name[:80]}' {end - start} bytes for {num_bits} bits")
    return tensor, start, end


def _counts(value: object) -> tuple[int, ...] | None:
    """A short list of whole numbers as a tuple; None for anything else."""
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        return None
    if not all(type(item) is int and 0 <= item < 1 << 62 for item in value):
        return None
    return tuple(value)


def _check_layout(
    path: Path, entries: Iterable[tuple[SafeTensor, int, int]], num_data_bytes: int
) -> None:
    """The tensors must fill the data one after the other, as the format demands."""
    position = 0
    for tensor, start, end in sorted(entries, key=lambda entry: entry[1:]):
        if start != position:
            raise _bad(path, f"has '{tensor.name[:80]}' in the wrong place")
        position = end
    if position > num_data_bytes:
        raise BadWeights(
            f"'{path.name}' ends {position - num_data_bytes} bytes too early.",
            hint="finish the download: `hearth pull`",
        )
    if position < num_data_bytes:
        raise _bad(path, f"has {num_data_bytes - position} bytes that belong to no tensor")


def _bad(path: Path, what: str) -> BadWeights:
    return BadWeights(f"'{path.name}' {what}.", hint="download the file again")
