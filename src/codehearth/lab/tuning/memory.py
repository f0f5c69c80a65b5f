"""How much memory a training takes, before it is started, and what would fit where it does not.

Pure arithmetic on a model's facts. Its parts: the frozen weights, the adapter with its gradients
and the two moments of AdamW (all in 32 bits), what the layers keep for the way back, what the
loss makes of the logits, and the process. `benchmarks/tune_memory.py` compares it with trainings.
On an H200, where PyTorch's allocator tells what it reserved, that was within 3 % of the parts but
the process (0.5B and 7B in bf16, 0.5B in int4).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from codehearth.lab.tuning.recipe import Hyperparameters
from codehearth.models.facts import Weights
from codehearth.models.torch_memory import computed_bytes, unquantised_parameters, weights_bytes

Device = Literal["cpu", "cuda", "mps"]

# Measured: Python with torch, transformers, peft, trl and datasets, a model of some megabytes.
PROCESS_BYTES = 720 << 20
# What an H200 held beside the weights once a model was loaded was 715 and 723 MiB; a part of it is
# the allocator's.
CUDA_BYTES = 700 << 20
_TRAINED_BYTES = 16  # a weight, its gradient, two moments
# TRL's loss looks at the logits in tiles of so many tokens and so many of the vocabulary
# (trl/kernels/chunked_logprob.py). CUDA changes a tile in place, elsewhere eight copies of it in 32
# bits are there at once on the way back.
_TILE_TOKENS, _TILE_VOCABULARY = 4096, 32_768
_TILE_BYTES = 32
_DROPOUT_BYTES = 5  # the input of a LoRA matrix in 32 bits, and its mask


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on the device that computes; on a CPU the process's own are among them."""

    weights_bytes: int
    adapter_bytes: int
    activations_bytes: int
    logits_bytes: int
    process_bytes: int

    @property
    def total_bytes(self) -> int:
        return sum(size for _, size in self.parts)

    @property
    def parts(self) -> tuple[tuple[str, int], ...]:
        return (
            ("weights", self.weights_bytes),
            ("adapter", self.adapter_bytes),
            ("activations", self.activations_bytes),
            ("logits", self.logits_bytes),
            ("process", self.process_bytes),
        )


def predict(
    weights: Weights, chosen: Hyperparameters, *, precision: str, device: Device = "cpu"
) -> TrainingMemory:
    """What a training of these weights takes at its largest batch: all rows as long as may be.

    `precision` is what the frozen weights are kept in: fp32, bf16, fp16, int8 or int4.
    """
    is_quantised = precision in ("int8", "int4")
    # PEFT prepares a quantised base: what is not quantised becomes 32 bits, and so does what the
    # layers hand on.
    size = 4 if is_quantised else computed_bytes(weights, precision)
    frozen = weights_bytes(weights, precision)
    if is_quantised:
        frozen += unquantised_parameters(weights) * (size - computed_bytes(weights, precision))
    rows = chosen.batch * chosen.max_tokens
    by_layer = rows * _layer_bytes(weights, size, has_dropout=chosen.dropout > 0)
    kept = rows * weights.embedding_size * size * weights.num_layers + by_layer
    activations = kept if chosen.checkpointing else by_layer * weights.num_layers
    tile = min(rows, _TILE_TOKENS) * min(weights.vocabulary_size, _TILE_VOCABULARY)
    return TrainingMemory(
        weights_bytes=frozen,
        adapter_bytes=_TRAINED_BYTES * adapter_parameters(weights, chosen),
        activations_bytes=activations,
        logits_bytes=tile * (size if device == "cuda" else _TILE_BYTES),
        process_bytes=CUDA_BYTES if device == "cuda" else PROCESS_BYTES,
    )


def adapter_parameters(weights: Weights, chosen: Hyperparameters) -> int:
    """How many numbers the adapter has, where it is on the seven matrices of every layer."""
    width, forward = weights.embedding_size, weights.feed_forward_size
    queries = weights.num_heads * weights.key_size
    keys = weights.num_kv_heads * weights.key_size
    sides = {
        "q_proj": width + queries,
        "k_proj": width + keys,
        "v_proj": width + weights.num_kv_heads * weights.value_size,
        "o_proj": queries + width,
        "gate_proj": width + forward,
        "up_proj": width + forward,
        "down_proj": forward + width,
    }
    names = chosen.targets or tuple(sides)
    each = sum(sides.get(name, 2 * width) for name in names)
    return chosen.rank * each * weights.num_layers


def _layer_bytes(weights: Weights, size: int, *, has_dropout: bool) -> int:
    """What one layer keeps of one token for the way back."""
    width, forward = weights.embedding_size, weights.feed_forward_size
    heads = (weights.num_heads + 2 * weights.num_kv_heads) * weights.key_size
    plain = size * (8 * width + 2 * heads + 4 * forward)
    # Each LoRA matrix keeps its own dropped-out copy of its input.
    return plain + (_DROPOUT_BYTES * (6 * width + forward) if has_dropout else 0)


@dataclass(frozen=True)
class Alternative:
    """Flags that would make it fit, and what it takes then."""

    flags: str
    total_bytes: int


def what_would_fit(
    weights: Weights,
    chosen: Hyperparameters,
    free_bytes: int,
    *,
    precision: str,
    device: Device,
) -> Alternative | None:
    """The first change that fits, the least one first; None where none does."""
    for flags, changed, kept_in in _changes(chosen, precision, can_quantise=device != "mps"):
        total = predict(weights, changed, precision=kept_in, device=device).total_bytes
        if total <= free_bytes:
            return Alternative(flags, total)
    return None


def _changes(
    chosen: Hyperparameters, precision: str, *, can_quantise: bool
) -> Iterator[tuple[str, Hyperparameters, str]]:
    """The same step with fewer rows at a time; then computing twice; then four bits; then less."""
    flags: list[str] = []
    current = chosen
    if not current.checkpointing:
        current = replace(current, checkpointing=True)
        flags.append("--checkpointing")
        yield " ".join(flags), current, precision
    if current.batch > 1:
        step = current.batch * current.accumulation
        current = replace(current, batch=1, accumulation=step)
        flags.append(f"--batch 1 --accumulation {step}")
        yield " ".join(flags), current, precision
    if can_quantise and precision != "int4":
        precision = "int4"
        flags.append("--quantize int4")
        yield " ".join(flags), current, precision
    for tokens in (256, 128):
        if tokens < current.max_tokens:
            shorter = replace(current, max_tokens=tokens)
            yield " ".join((*flags, f"--max-tokens {tokens}")), shorter, precision
