"""A model to quantise: its facts and where each of its tensors lies.

`gguf_source` is here, a Hugging Face checkpoint is read by `checkpoint_source`. Headers are checked
by `models` before anything here believes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codehearth.lab import gguf_bytes
from codehearth.lab.gguf_bytes import Fact
from codehearth.lab.mixture import Model, Shape
from codehearth.models.facts import Weights
from codehearth.models.gguf_header import read_gguf_header
from codehearth.models.gguf_weights import split_parts
from codehearth.models.weights import read_weights


@dataclass(frozen=True)
class SourceTensor:
    """A tensor under its GGUF name; `shape` is innermost first.

    `num_heads` is not 0 where the rows of each head must be interleaved: Hugging Face keeps the
    halves of a rotary embedding apart, llama.cpp's Llama wants them in pairs. `kept_as` is the type
    of a tensor that is no matrix of weights; "" is the one that it has. `inline` holds the numbers
    of one that is in no file.
    """

    name: str
    shape: tuple[int, ...]
    type_name: str
    path: Path
    offset: int
    num_bytes: int
    num_heads: int = 0
    kept_as: str = ""
    inline: bytes = b""

    @property
    def as_shape(self) -> Shape:
        return Shape(self.name, self.shape, self.kept_as or self.type_name)

    @property
    def num_elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True)
class SourceModel:
    """All that a GGUF of this model needs; the facts say nothing of precision."""

    facts: tuple[Fact, ...]
    tensors: tuple[SourceTensor, ...]
    model: Model
    files: tuple[Path, ...]

    @property
    def num_parameters(self) -> int:
        return sum(tensor.num_elements for tensor in self.tensors)


# Facts of one file that must not be taken over into another.
_OWN_FACTS = frozenset(
    {
        "general.file_type",
        "general.quantization_version",
        "general.alignment",
        "split.no",
        "split.count",
        "split.tensors.count",
    }
)


def gguf_source(path: Path) -> SourceModel:
    """The GGUF model at `path`, with all its parts; raises BadWeights."""
    weights = read_weights(path)
    parts = split_parts(path)
    facts: tuple[Fact, ...] = ()
    tensors: list[SourceTensor] = []
    for part in parts:
        header = read_gguf_header(part)
        found, data_start = gguf_bytes.read_facts(part)
        facts = facts or tuple(fact for fact in found if fact.key not in _OWN_FACTS)
        alignment = gguf_bytes.number_of(found, "general.alignment") or gguf_bytes.ALIGNMENT
        offset = data_start
        for tensor in header.tensors:
            tensors.append(
                SourceTensor(
                    tensor.name, tensor.shape, tensor.type_name, part, offset, tensor.num_bytes
                )
            )
            offset += tensor.num_bytes + -tensor.num_bytes % alignment
    return SourceModel(facts, tuple(tensors), model_of(weights), parts)


def model_of(weights: Weights) -> Model:
    return Model(
        architecture=weights.architecture,
        num_layers=weights.num_layers,
        num_heads=weights.num_heads,
        num_kv_heads=weights.num_kv_heads,
        num_experts=weights.experts,
    )
