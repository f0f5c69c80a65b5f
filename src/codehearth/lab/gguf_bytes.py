"""GGUF's header as bytes: facts taken over from a file as they stand, and facts written anew.

Only for files that `models.gguf_header` has read without complaint: it checks every count and
length, here they are believed. Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codehearth.lab.library import TYPE_NUMBERS
from codehearth.models.gguf_cursor import Cursor

ALIGNMENT = 32

_U32, _I32, _F32, _BOOL, _STRING, _ARRAY, _U64 = 4, 5, 6, 7, 8, 9, 10
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


@dataclass(frozen=True)
class Fact:
    """A key and its value: GGUF's number of the type, then the value."""

    key: str
    value: bytes


@dataclass(frozen=True)
class Described:
    """A tensor as a header describes it; `shape` is innermost first, `offset` in the data."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    offset: int


def text(key: str, value: str) -> Fact:
    return Fact(key, struct.pack("<I", _STRING) + _string(value))


def whole(key: str, value: int) -> Fact:
    return Fact(key, struct.pack("<II", _U32, value))


def number(key: str, value: float) -> Fact:
    return Fact(key, struct.pack("<If", _F32, value))


def flag(key: str, value: bool) -> Fact:
    return Fact(key, struct.pack("<I?", _BOOL, value))


def texts(key: str, values: Sequence[str]) -> Fact:
    content = b"".join(map(_string, values))
    return Fact(key, struct.pack("<IIQ", _ARRAY, _STRING, len(values)) + content)


def wholes(key: str, values: Sequence[int]) -> Fact:
    content = struct.pack(f"<{len(values)}i", *values)
    return Fact(key, struct.pack("<IIQ", _ARRAY, _I32, len(values)) + content)


def numbers(key: str, values: Sequence[float]) -> Fact:
    content = struct.pack(f"<{len(values)}f", *values)
    return Fact(key, struct.pack("<IIQ", _ARRAY, _F32, len(values)) + content)


def header(facts: Sequence[Fact], tensors: Sequence[Described]) -> bytes:
    """A whole header of version 3, filled up so that the data begins where it ends."""
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(facts))]
    for fact in facts:
        parts += (_string(fact.key), fact.value)
    for tensor in tensors:
        sizes = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        kind = struct.pack("<IQ", TYPE_NUMBERS[tensor.type_name], tensor.offset)
        parts += (_string(tensor.name), sizes, kind)
    content = b"".join(parts)
    return content + bytes(-len(content) % ALIGNMENT)


def aligned(position: int) -> int:
    return position + -position % ALIGNMENT


def read_facts(path: Path) -> tuple[tuple[Fact, ...], int]:
    """A file's facts as they stand, and where its data begins."""
    with path.open("rb", buffering=0) as file:
        cursor = Cursor(file, path.name)
        cursor.take(4)
        cursor.u32()
        num_tensors, num_facts = cursor.u64(), cursor.u64()
        spans = [_span(cursor) for _ in range(num_facts)]
        for _ in range(num_tensors):
            _pass_tensor(cursor)
        facts = tuple(Fact(key, _between(path, start, end)) for key, start, end in spans)
        alignment = next((f.value for f in facts if f.key == "general.alignment"), None)
        size = struct.unpack("<I", alignment[4:8])[0] if alignment else ALIGNMENT
        return facts, cursor.position + -cursor.position % size


def number_of(facts: Iterable[Fact], key: str) -> int | None:
    """A fact that is a whole number of 32 bits."""
    for fact in facts:
        if fact.key == key and struct.unpack("<I", fact.value[:4])[0] in (_U32, _I32):
            return int(struct.unpack("<I", fact.value[4:8])[0])
    return None


def text_of(facts: Iterable[Fact], key: str) -> str:
    """A fact that is a text, or the first of a list of texts; empty where it is neither."""
    for fact in facts:
        if fact.key == key:
            kind, item = struct.unpack("<II", fact.value[:8])
            start = 16 if kind == _ARRAY and item == _STRING else 4
            if kind == _STRING or start == 16:
                (length,) = struct.unpack_from("<Q", fact.value, start)
                return fact.value[start + 8 : start + 8 + length].decode("utf-8", "replace")
    return ""


def texts_of(facts: Iterable[Fact], key: str) -> tuple[str, ...]:
    """A fact that is a list of texts; empty where it is missing or something else."""
    content = _list_of(facts, key, _STRING)
    found, place = [], 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        place += 8 + length
        found.append(content[place - length : place].decode("utf-8", "surrogateescape"))
    return tuple(found)


def wholes_of(facts: Iterable[Fact], key: str) -> tuple[int, ...]:
    """A fact that is a list of whole numbers of 32 bits; empty where it is not."""
    content = _list_of(facts, key, _I32)
    return struct.unpack(f"<{len(content) // 4}i", content)


def _list_of(facts: Iterable[Fact], key: str, item: int) -> bytes:
    begin = struct.pack("<II", _ARRAY, item)
    return next((f.value[16:] for f in facts if f.key == key and f.value.startswith(begin)), b"")


def _span(cursor: Cursor) -> tuple[str, int, int]:
    key = cursor.take(cursor.u64()).decode()
    start = cursor.position
    _pass_value(cursor, cursor.u32())
    return key, start, cursor.position


def _pass_value(cursor: Cursor, kind: int) -> None:
    if kind == _STRING:
        cursor.skip(cursor.u64())
    elif kind != _ARRAY:
        cursor.skip(_SIZES[kind])
    else:
        item, count = cursor.u32(), cursor.u64()
        if item == _STRING:
            cursor.skip_strings(count)
        else:
            cursor.skip(count * _SIZES[item])


def _pass_tensor(cursor: Cursor) -> None:
    cursor.skip(cursor.u64())
    cursor.skip(8 * cursor.u32() + 12)


def _between(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


def _string(value: str) -> bytes:
    content = value.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(content)) + content
