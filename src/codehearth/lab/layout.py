"""The file that a quantisation will make, before a number is touched; pure.

Header, tensors with their types and places, and the size: `--dry-run` is this and nothing else.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codehearth.errors import InvalidRequest
from codehearth.lab import gguf_bytes, low_bits
from codehearth.lab.gguf_bytes import Described, Fact
from codehearth.lab.importance import Importance, matrix_of
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
    importance: Importance | None = None

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
            if self.recipe.tensor_type.endswith("_K") or self.recipe.tensor_type.startswith("IQ")
            if placed.type_name in ("F16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "IQ4_NL")
            and len(placed.source.shape) > 1
            and placed.source.shape[0] % 256
        )

    def start_of(self, index: int) -> int:
        """Where tensor `index` begins; one past the last is the file's end."""
        return self.tensors[index - 1].end if index else len(self.header)

    def identity(self) -> str:
        """Two jobs of one identity write the same bytes, unless a source file was changed."""
        digest = hashlib.sha256(self.header)
        digest.update((self.importance.sha256 if self.importance else "").encode())
        for placed in self.tensors:
            source = placed.source
            status = source.path.stat()
            facts = (source.offset, source.num_bytes, status.st_size, status.st_mtime_ns)
            digest.update(repr((str(source.path), facts, source.num_heads)).encode())
        return digest.hexdigest()


def layout(source: SourceModel, recipe: Recipe, importance: Importance | None = None) -> Layout:
    """Raises InvalidRequest where the recipe needs an importance matrix that is not there, or is
    another model's."""
    shapes = [tensor.as_shape for tensor in source.tensors]
    types = tensor_types(shapes, recipe, source.model, has_importance=importance is not None)
    _require_importance(source, types, recipe, importance)
    described, ends, position = [], [], 0
    for tensor, type_name in zip(source.tensors, types, strict=True):
        described.append(Described(tensor.name, tensor.shape, type_name, position))
        position = gguf_bytes.aligned(position + num_bytes(tensor.shape, type_name))
        ends.append(position)
    facts = (
        *source.facts,
        gguf_bytes.whole("general.quantization_version", _QUANTISATION_VERSION),
        gguf_bytes.whole("general.file_type", recipe.file_type),
        *_facts_of(importance),
    )
    header = gguf_bytes.header(facts, described)
    placed = (
        Placed(tensor, type_name, len(header) + end)
        for tensor, type_name, end in zip(source.tensors, types, ends, strict=True)
    )
    return Layout(recipe, header, tuple(placed), importance if recipe.is_quantised else None)


def _facts_of(importance: Importance | None) -> tuple[Fact, ...]:
    """What `llama-quantize` says of the matrix in the file, but for the place where it lay."""
    if importance is None:
        return ()
    return (
        gguf_bytes.text("quantize.imatrix.dataset", importance.title),
        gguf_bytes.whole("quantize.imatrix.entries_count", len(importance.values)),
        gguf_bytes.whole("quantize.imatrix.chunks_count", importance.num_chunks),
    )


def _require_importance(
    source: SourceModel, types: Sequence[str], recipe: Recipe, importance: Importance | None
) -> None:
    for tensor, type_name in zip(source.tensors, types, strict=True):
        values = importance.values.get(tensor.name) if importance else None
        if importance and values is not None and matrix_of(values, tensor.shape) is None:
            raise InvalidRequest(
                f"'{importance.path.name}' is another model's: its '{tensor.name}' has "
                f"{values.size} columns.",
                hint="--imatrix with a text makes one of this model",
            )
        if values is None and low_bits.needs_importance(tensor.name, type_name, recipe.precision):
            said = f"which has nothing of '{tensor.name}'" if importance else "which was not given"
            raise InvalidRequest(
                f"'{recipe.precision}' needs an importance matrix, {said}.",
                hint="--imatrix FILE with a text like those that the model is to write",
            )
