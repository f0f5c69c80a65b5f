"""The file that a quantisation will make, before a number is touched; pure.

Header, tensors with their types and places, and the size: `--dry-run` is this and nothing else.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from codehearth.lab import gguf_bytes
from codehearth.lab.gguf_bytes import Described
from codehearth.lab.mixture import Recipe, num_bytes, tensor_types
from codehearth.lab.source import SourceModel, SourceTensor

# GGML_QNT_VERSION of llama.cpp.
_QUANTISATION_VERSION = 2


@dataclass(frozen=True)
class Placed:
    """A tensor of the new file: its source, its type, and its end in the file, filling included."""

    source: SourceTensor
    type_name: str
    end: int


@dataclass(frozen=True)
class Layout:
    recipe: Recipe
    header: bytes
    tensors: tuple[Placed, ...]

    @property
    def num_bytes(self) -> int:
        return self.tensors[-1].end if self.tensors else len(self.header)

    @property
    def num_tensor_bytes(self) -> int:
        """Without the header, the filling and the vocabulary: what bits per weight counts."""
        return sum(num_bytes(placed.source.shape, placed.type_name) for placed in self.tensors)

    @property
    def num_parameters(self) -> int:
        return sum(placed.source.num_elements for placed in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.num_tensor_bytes / max(1, self.num_parameters)

    @property
    def types(self) -> Mapping[str, int]:
        """How many tensors have which type."""
        return Counter(placed.type_name for placed in self.tensors)

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Matrices whose rows no block of the recipe's type divides."""
        return tuple(
            placed.source.name
            for placed in self.tensors
            if self.recipe.tensor_type.endswith("_K")
            and placed.type_name in ("F16", "Q8_0", "Q5_0", "Q5_1", "Q4_0")
            and len(placed.source.shape) > 1
            and placed.source.shape[0] % 256
        )

    def start_of(self, index: int) -> int:
        """Where tensor `index` begins; one past the last is the file's end."""
        return self.tensors[index - 1].end if index else len(self.header)

    def identity(self) -> str:
        """Two jobs of one identity write the same bytes, unless a source file was changed."""
        digest = hashlib.sha256(self.header)
        for placed in self.tensors:
            source = placed.source
            status = source.path.stat()
            facts = (source.offset, source.num_bytes, status.st_size, status.st_mtime_ns)
            digest.update(repr((str(source.path), facts, source.num_heads)).encode())
        return digest.hexdigest()


def layout(source: SourceModel, recipe: Recipe) -> Layout:
    types = tensor_types([tensor.as_shape for tensor in source.tensors], recipe, source.model)
    described, ends, position = [], [], 0
    for tensor, type_name in zip(source.tensors, types, strict=True):
        described.append(Described(tensor.name, tensor.shape, type_name, position))
        position = gguf_bytes.aligned(position + num_bytes(tensor.shape, type_name))
        ends.append(position)
    facts = (
        *source.facts,
        gguf_bytes.whole("general.quantization_version", _QUANTISATION_VERSION),
        gguf_bytes.whole("general.file_type", recipe.file_type),
    )
    header = gguf_bytes.header(facts, described)
    placed = (
        Placed(tensor, type_name, len(header) + end)
        for tensor, type_name, end in zip(source.tensors, types, ends, strict=True)
    )
    return Layout(recipe, header, tuple(placed))
