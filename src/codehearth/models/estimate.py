"""Facts of weights that are not on this disk: made up from what a catalogue knows.

Good for "would it fit", about a tenth off in the weights and up to twice in the context's part
(old models keep keys and values for every head, today's for a few). Whatever is planned with them
says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from codehearth.models import precisions
from codehearth.models.facts import Weights


@dataclass(frozen=True)
class _Shape:
    num_parameters: float
    num_layers: int
    embedding_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    feed_forward_size: int
    vocabulary_size: int


# Qwen2.5's sizes (their config.json) and Llama 3's largest, as examples of today's shapes.
_SHAPES = (
    _Shape(0.03e9, 6, 384, 6, 2, 64, 1024, 32000),
    _Shape(0.49e9, 24, 896, 14, 2, 64, 4864, 151936),
    _Shape(1.54e9, 28, 1536, 12, 2, 128, 8960, 151936),
    _Shape(3.09e9, 36, 2048, 16, 2, 128, 11008, 151936),
    _Shape(7.6e9, 28, 3584, 28, 4, 128, 18944, 152064),
    _Shape(14.8e9, 48, 5120, 40, 8, 128, 13824, 152064),
    _Shape(32.8e9, 64, 5120, 40, 8, 128, 27648, 152064),
    _Shape(72.7e9, 80, 8192, 64, 8, 128, 29568, 152064),
    _Shape(405e9, 126, 16384, 128, 8, 128, 53248, 128256),
)

_TYPE_SUFFIXES = ("_xl", "_l", "_m", "_s")


def estimated_weights(
    *,
    num_parameters: int,
    precision: str,
    context_tokens: int,
    num_bytes: int | None = None,
    is_embedding_model: bool = False,
) -> Weights:
    """Weights of that size and precision; `num_bytes` is the files' size where that is known."""
    shape = min(_SHAPES, key=lambda known: _distance(known.num_parameters, num_parameters))
    total = num_bytes or precisions.estimated_bytes(num_parameters, precision)
    embedding = min(total // 2, _share(total, num_parameters, shape))
    return Weights(
        kind="gguf",
        architecture="unknown",
        num_parameters=num_parameters,
        num_bytes=total,
        precision=precision,
        num_layers=shape.num_layers,
        embedding_size=shape.embedding_size,
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        key_size=shape.head_size,
        value_size=shape.head_size,
        feed_forward_size=shape.feed_forward_size,
        vocabulary_size=shape.vocabulary_size,
        num_merges=shape.vocabulary_size,
        context_tokens=context_tokens,
        bytes_by_layer=((total - embedding) // shape.num_layers,) * shape.num_layers,
        kv_elements_by_layer=(2 * shape.num_kv_heads * shape.head_size,) * shape.num_layers,
        sliding_layers=(False,) * shape.num_layers,
        embedding_bytes=embedding,
        bytes_by_type={tensor_type_of(precision): total},
        is_embedding_model=is_embedding_model,
        is_estimate=True,
    )


def at_precision(weights: Weights, precision: str) -> Weights:
    """The same model at another precision, its parts scaled by bits per weight; an estimate."""
    total = precisions.estimated_bytes(weights.num_parameters, precision)
    scale = total / weights.num_bytes if weights.num_bytes else 0.0
    kind = tensor_type_of(precision)
    return replace(
        weights,
        num_bytes=total,
        precision=precision,
        bytes_by_layer=tuple(int(size * scale) for size in weights.bytes_by_layer),
        embedding_bytes=int(weights.embedding_bytes * scale),
        embedding_type=kind,
        output_bytes=int(weights.output_bytes * scale),
        bytes_by_type={kind: total},
        is_estimate=True,
    )


def tensor_type_of(precision: str) -> str:
    """The tensor type that most of a file of that precision has: Q4_K for `q4_k_m`."""
    name = precisions.normalised(precision)
    if name.count("_") == 2:
        for suffix in _TYPE_SUFFIXES:
            name = name.removesuffix(suffix)
    return name.upper()


def _share(total: int, num_parameters: int, shape: _Shape) -> int:
    return int(total * shape.vocabulary_size * shape.embedding_size / max(1, num_parameters))


def _distance(one: float, other: float) -> float:
    return abs(math.log(one) - math.log(max(1.0, other)))
