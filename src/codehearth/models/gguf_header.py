"""Reads the header of one GGUF file without trusting a byte of it.

A model file is a stranger's: every count, length and offset is checked against what the file can
hold before anything is read or allocated, so garbage ends in `BadWeights` within a bounded time
(a few seconds at worst, for a file that really holds millions of tokens) and a bounded memory
(`MAX_KEPT_BYTES` and some objects). What this cannot find is a damaged weight: only the file's
sha256 does that.

Layout (little endian; https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): magic, version,
number of tensors, number of pairs, the pairs, the tensors' descriptions, padding, data.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from codehearth.errors import BadWeights
from codehearth.models.gguf_cursor import Cursor
from codehearth.models.gguf_types import TENSOR_TYPES

Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...]

DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 20
MAX_PAIRS = 1 << 16
MAX_TENSORS = 1 << 17
MAX_DIMENSIONS = 4
# llama.cpp refuses longer names (GGML_MAX_NAME, with its closing zero).
MAX_TENSOR_NAME_BYTES = 63
MAX_KEY_BYTES = 1 << 12
# A longer string is passed over and only its length is kept; chat templates stay below 100 KiB.
MAX_STRING_BYTES = 1 << 20
# A longer array is passed over: the arrays that describe a model have one number for each layer.
MAX_ARRAY_ITEMS = 1 << 12
# In all arrays of a file. The largest vocabularies have 262,144 tokens and twice as many merges;
# this many take a second or two to pass over.
MAX_STRINGS = 1 << 22
MAX_KEPT_BYTES = 1 << 24

_STRING, _ARRAY = 8, 9
_NUMBERS: dict[int, struct.Struct] = {
    number: struct.Struct("<" + code)
    for number, code in (
        (0, "B"),
        (1, "b"),
        (2, "H"),
        (3, "h"),
        (4, "I"),
        (5, "i"),
        (6, "f"),
        (7, "?"),
        (10, "Q"),
        (11, "q"),
        (12, "d"),
    )
}

_TOKEN_TYPES = "tokenizer.ggml.token_type"  # noqa: S105 - a key of the format

# What people really end up with instead of a model, and what to tell them.
_IMPOSTORS: tuple[tuple[bytes, str, str], ...] = (
    (b"<!", "is a web page", "download the file again"),
    (b"<h", "is a web page", "download the file again"),
    (b"vers", "is a Git LFS pointer", "download the file itself, or run `git lfs pull`"),
    (b"PK\x03\x04", "is a PyTorch or zip archive", "take the safetensors or GGUF files"),
    (b"\x80\x02", "is a Python pickle, which can run code", "take the safetensors or GGUF files"),
    (b"ggml", "has a format older than GGUF", "convert it, or download a GGUF"),
    (b"lmgg", "has a format older than GGUF", "convert it, or download a GGUF"),
    (b"tjgg", "has a format older than GGUF", "convert it, or download a GGUF"),
)


@dataclass(frozen=True)
class GgufTensor:
    """One tensor's description; `shape` is innermost first, as the file has it."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    num_elements: int
    num_bytes: int


@dataclass(frozen=True)
class TokenMark:
    """A token that was looked for: its id and its type, None where the file tells no types."""

    id: int
    type: int | None


@dataclass(frozen=True)
class GgufHeader:
    """A header that was read whole.

    `lengths` holds, for each key whose value was passed over, its number of items (arrays) or of
    bytes (strings).
    """

    file_name: str
    file_bytes: int
    version: int
    metadata: Mapping[str, Value]
    lengths: Mapping[str, int]
    tensors: tuple[GgufTensor, ...]
    marks: Mapping[str, TokenMark]


def read_gguf_header(path: Path, *, marks: tuple[str, ...] = ()) -> GgufHeader:
    """The header of the file at `path`; raises BadWeights.

    `marks` are token texts to look for in the vocabulary; those that are there are in the
    result's `marks`. (The vocabulary itself is passed over: its 150,000 strings are the largest
    part of a header and nobody else needs them.)
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadWeights(f"'{path.name}' is not a regular file.")
        with path.open("rb", buffering=0) as file:
            return _Parser(Cursor(file, path.name), marks).header()
    except OSError as error:
        raise BadWeights(f"'{path.name}' cannot be read: {error.strerror}.") from error


@dataclass(frozen=True)
class _NumbersInFile:
    """An array that was passed over, for reading single numbers of it."""

    position: int
    number: struct.Struct
    num_items: int


class _Parser:
    def __init__(self, cursor: Cursor, marks: tuple[str, ...]) -> None:
        self.cursor = cursor
        self.name = cursor.file_name
        self.wanted_marks = {mark.encode(): mark for mark in marks}
        self.found_marks: dict[str, int] = {}
        self.token_types: _NumbersInFile | None = None
        self.kept_bytes = 0
        self.num_strings = 0
        self.metadata: dict[str, Value] = {}
        self.lengths: dict[str, int] = {}

    def header(self) -> GgufHeader:
        version, num_tensors, num_pairs = self._preamble()
        for _ in range(num_pairs):
            self._pair()
        tensors = self._tensors(num_tensors)
        return GgufHeader(
            file_name=self.name,
            file_bytes=self.cursor.file_bytes,
            version=version,
            metadata=MappingProxyType(self.metadata),
            lengths=MappingProxyType(self.lengths),
            tensors=tensors,
            marks=MappingProxyType(self._marks()),
        )

    def bad(self, what: str, hint: str = "download the file again") -> BadWeights:
        return BadWeights(f"'{self.name}' {what}.", hint=hint)

    def _preamble(self) -> tuple[int, int, int]:
        magic = self.cursor.take(4)
        if magic != b"GGUF":
            raise self._impostor(magic)
        version = self.cursor.u32()
        if version & 0xFFFF == 0:
            raise self.bad("is a big-endian GGUF", "take a little-endian one")
        if version not in (2, 3):
            raise self.bad(f"is GGUF version {version}; versions 2 and 3 can be read")
        num_tensors, num_pairs = self.cursor.u64(), self.cursor.u64()
        if num_tensors > MAX_TENSORS or num_pairs > MAX_PAIRS:
            raise self.bad(f"claims {num_tensors} tensors and {num_pairs} facts")
        return version, num_tensors, num_pairs

    def _impostor(self, magic: bytes) -> BadWeights:
        for start, what, hint in _IMPOSTORS:
            if magic.lower().startswith(start.lower()):
                return self.bad(what + ", not a GGUF", hint)
        return self.bad("is not a GGUF file")

    def _pair(self) -> None:
        key = self._text(MAX_KEY_BYTES, "a key")
        if not key or key in self.metadata or key in self.lengths:
            raise self.bad(f"names the fact '{key[:80]}' twice or not at all")
        kind = self.cursor.u32()
        if kind == _ARRAY:
            self._array(key)
        elif kind == _STRING:
            self._string(key)
        else:
            (self.metadata[key],) = self._number_struct(kind).unpack(
                self.cursor.take(self._number_struct(kind).size)
            )

    def _number_struct(self, kind: int) -> struct.Struct:
        if kind not in _NUMBERS:
            raise self.bad(f"holds a value of the unknown kind {kind}")
        return _NUMBERS[kind]

    def _string(self, key: str) -> None:
        num_bytes = self.cursor.u64()
        if num_bytes > MAX_STRING_BYTES:
            self.cursor.skip(num_bytes)
            self.lengths[key] = num_bytes
            return
        self._keep(num_bytes)
        self.metadata[key] = self.cursor.take(num_bytes).decode("utf-8", "replace")

    def _array(self, key: str) -> None:
        kind, num_items = self.cursor.u32(), self.cursor.u64()
        if kind == _STRING:
            self._string_array(key, num_items)
            return
        number = self._number_struct(kind)
        if num_items > MAX_ARRAY_ITEMS:
            if key == _TOKEN_TYPES:
                self.token_types = _NumbersInFile(self.cursor.position, number, num_items)
            self.cursor.skip(num_items * number.size)
            self.lengths[key] = num_items
            return
        # A number becomes an object of about 32 bytes and a place in the tuple.
        self._keep(num_items * 40)
        content = self.cursor.take(num_items * number.size)
        self.metadata[key] = tuple(value for (value,) in number.iter_unpack(content))

    def _string_array(self, key: str, num_items: int) -> None:
        self.num_strings += num_items
        if self.num_strings > MAX_STRINGS:
            raise self.bad(f"claims {num_items} strings in '{key[:80]}'")
        wanted = self.wanted_marks if key == "tokenizer.ggml.tokens" else {}
        found = self.cursor.skip_strings(num_items, frozenset(wanted))
        self.found_marks |= {wanted[mark]: number for mark, number in found.items()}
        self.lengths[key] = num_items

    def _marks(self) -> dict[str, TokenMark]:
        return {
            mark: TokenMark(number, self._type_of(number))
            for mark, number in self.found_marks.items()
        }

    def _type_of(self, token: int) -> int | None:
        kept, place = self.metadata.get(_TOKEN_TYPES), self.token_types
        if isinstance(kept, tuple) and token < len(kept):
            return int(kept[token])
        if place is None or token >= place.num_items:
            return None
        self.cursor.file.seek(place.position + token * place.number.size)
        content = self.cursor.file.read(place.number.size)
        return int(place.number.unpack(content)[0]) if len(content) == place.number.size else None

    def _text(self, max_bytes: int, what: str) -> str:
        num_bytes = self.cursor.u64()
        if num_bytes > max_bytes:
            raise self.bad(f"claims {num_bytes} bytes for {what}")
        self._keep(num_bytes + 100)
        try:
            return self.cursor.take(num_bytes).decode()
        except UnicodeDecodeError:
            raise self.bad(f"has {what} that is not UTF-8") from None

    def _keep(self, num_bytes: int) -> None:
        self.kept_bytes += num_bytes
        if self.kept_bytes > MAX_KEPT_BYTES:
            raise self.bad(f"holds more than {MAX_KEPT_BYTES} bytes of facts")

    def _tensors(self, num_tensors: int) -> tuple[GgufTensor, ...]:
        alignment = self.metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= MAX_ALIGNMENT:
            raise self.bad(f"has the alignment {alignment}")
        if alignment & (alignment - 1):
            raise self.bad(f"has the alignment {alignment}, which is no power of two")
        tensors: dict[str, GgufTensor] = {}
        num_data_bytes = 0
        end = 0
        for _ in range(num_tensors):
            tensor = self._tensor()
            # The engine wants them one after the other as well, so nothing may overlap.
            if self.cursor.u64() != num_data_bytes or tensor.name in tensors:
                raise self.bad(f"has the tensor '{tensor.name}' twice or in the wrong place")
            tensors[tensor.name] = tensor
            end = num_data_bytes + tensor.num_bytes
            num_data_bytes = _aligned(end, alignment)
        missing = _aligned(self.cursor.position, alignment) + end - self.cursor.file_bytes
        if tensors and missing > 0:
            raise self.bad(f"ends {missing} bytes too early", "finish the download: `hearth pull`")
        return tuple(tensors.values())

    def _tensor(self) -> GgufTensor:
        name = self._text(MAX_TENSOR_NAME_BYTES, "a tensor's name")
        num_dimensions = self.cursor.u32()
        if num_dimensions > MAX_DIMENSIONS:
            raise self.bad(f"gives '{name}' {num_dimensions} dimensions")
        shape = tuple(self.cursor.u64() for _ in range(num_dimensions)) or (1,)
        number = self.cursor.u32()
        if number not in TENSOR_TYPES:
            raise self.bad(f"stores '{name}' in the unknown type {number}")
        tensor_type = TENSOR_TYPES[number]
        num_elements = 1
        for size in shape:
            num_elements *= size
        if not 0 < num_elements < 1 << 62 or shape[0] % tensor_type.block_size:
            raise self.bad(f"gives '{name}' a shape that {tensor_type.name} cannot have")
        num_bytes = num_elements // tensor_type.block_size * tensor_type.block_bytes
        self._keep(300)
        return GgufTensor(name, shape, tensor_type.name, num_elements, num_bytes)


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment
