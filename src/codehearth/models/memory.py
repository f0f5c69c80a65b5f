"""How many bytes a model will need under llama.cpp, before anything is started.

Pure arithmetic on facts. Choosing with it is `planning`.
"""

from __future__ import annotations

from dataclasses import dataclass

from codehearth.models.facts import Weights

# Bytes that one number of a KV cache takes.
KV_BYTES: dict[str, float] = {"f32": 4, "f16": 2, "bf16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}

DEFAULT_BATCH_TOKENS = 512
# A child of ours before it holds a model: Python, the engine's library, threads.
OVERHEAD_BYTES = 60 << 20


@dataclass(frozen=True)
class Footprint:
    """The bytes of a running model by what they are for; `gpu_bytes` of them are on GPUs."""

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    overhead_bytes: int
    gpu_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_bytes + self.compute_bytes + self.overhead_bytes

    @property
    def host_bytes(self) -> int:
        return self.total_bytes - self.gpu_bytes


def predict(
    weights: Weights,
    *,
    context_tokens: int,
    num_slots: int,
    gpu_layers: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    kv_type: str = "f16",
    mapped: bool = True,
) -> Footprint:
    """What a child needs with `num_slots` requests of `context_tokens` each at a time."""
    elements = sum(weights.kv_elements_by_layer)
    return Footprint(
        weights_bytes=weights.num_bytes,
        kv_bytes=int(elements * KV_BYTES[kv_type]) * context_tokens * num_slots
        + weights.state_bytes * num_slots,
        compute_bytes=4 * batch_tokens * (weights.embedding_size * 4 + weights.feed_forward_size),
        overhead_bytes=OVERHEAD_BYTES,
    )
