"""How many bytes a model will need under llama.cpp, before anything is started.

Pure arithmetic on facts; choosing with it is `planning`. What is counted is the resident memory of
the child that serves the model, once every page that it will touch has been touched: its own pages
and the weights that it has mapped. The buffers follow llama.cpp as of autumn 2026 with flash
attention and a KV cache for each slot (non-unified), started as `workers/llamacpp.py` does.

"Measured" constants were fitted to xllamacpp 2026.10.11549 on Linux x86-64; `benchmarks/memory.py`
prints how far off they are. Nothing was measured on a GPU: what that needs on top is a guess, said
so at its constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from codehearth.models.facts import Weights

# Bytes that one number of a KV cache takes.
KV_BYTES: dict[str, float] = {"f32": 4, "f16": 2, "bf16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}

# How many tokens of prompts are computed at once (n_ubatch of `engines/base.py`'s Launch).
DEFAULT_BATCH_TOKENS = 512
# Copies of sliding windows and recurrent states that each slot may keep (n_ctx_checkpoints).
MAX_CHECKPOINTS = 4

# Types that llama.cpp's CPU code lays out anew when it loads them. The copy is private memory,
# and beside it the file stays mapped.
_REPACKED_X86 = frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})
_REPACKED_ARM = _REPACKED_X86 | {"Q5_K", "Q6_K", "Q8_0"}

# Measured: the worker with a model of two megabytes after long prompts; 19 MiB are library code.
PROCESS_BYTES = 36 << 20
# Measured: 151,936 tokens and as many merges take 61 MiB more than 400 of each.
BYTES_PER_TOKEN = 221
BYTES_PER_MERGE = 205
# A candidate of llama.cpp's sampler: id, logit and probability. One list for each slot.
BYTES_PER_CANDIDATE = 12

# A guess from what others report: a CUDA context and its libraries' workspaces, for each GPU.
CUDA_CONTEXT_BYTES = 400 << 20


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

    @property
    def parts(self) -> tuple[tuple[str, int], ...]:
        """What is printed, in this order, and adds up to the total."""
        return (
            ("weights", self.weights_bytes),
            ("context", self.kv_bytes),
            ("compute", self.compute_bytes),
            ("process", self.overhead_bytes),
        )


class Predict(Protocol):
    """How much memory a child needs; one for each way to compute. See `predict`."""

    def __call__(
        self,
        weights: Weights,
        *,
        context_tokens: int,
        num_slots: int,
        gpu_layers: int,
        num_gpus: int,
        batch_tokens: int,
        kv_type: str,
        mapped: bool,
        machine: str,
    ) -> Footprint: ...


def predict(
    weights: Weights,
    *,
    context_tokens: int,
    num_slots: int,
    gpu_layers: int = 0,
    num_gpus: int = 1,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    kv_type: str = "f16",
    mapped: bool = True,
    machine: str = "x86_64",
) -> Footprint:
    """What a child needs with `num_slots` requests of `context_tokens` each at a time.

    `gpu_layers` counts from the end, the output first, as llama.cpp does: all is one more than the
    model has layers. `machine` is the CPU's, as `Hardware.machine` names it.
    """
    batch = batch_tokens_of(weights, context_tokens, batch_tokens)
    num_on_gpu = min(gpu_layers, weights.num_layers + 1)
    host_weights, gpu_weights = _weights_bytes(
        weights, num_on_gpu, mapped=mapped, types=repacked_types(machine)
    )
    kv = [
        num_slots * size
        for size in _kv_bytes_by_layer(weights, context_tokens, batch, KV_BYTES[kv_type])
    ]
    gpu_kv = sum(_on_gpu(kv, num_on_gpu))
    compute = _compute_bytes(weights, context_tokens, num_slots, batch)
    answers = _answer_bytes(weights, num_slots, batch)
    gpu_compute = compute if num_on_gpu else 0
    # With every layer on GPUs the host only looks up the tokens' embeddings.
    host_compute = (
        4 * batch * weights.embedding_size if num_on_gpu > weights.num_layers else compute
    )
    contexts = CUDA_CONTEXT_BYTES * num_gpus if num_on_gpu else 0
    return Footprint(
        weights_bytes=host_weights + gpu_weights,
        kv_bytes=sum(kv) + num_slots * _checkpoint_bytes(weights, context_tokens, kv_type),
        compute_bytes=gpu_compute + host_compute + answers,
        overhead_bytes=overhead_bytes(weights) + contexts,
        gpu_bytes=gpu_weights + gpu_kv + gpu_compute + contexts,
    )


def batch_tokens_of(weights: Weights, context_tokens: int, batch_tokens: int) -> int:
    """What is computed at once: an embedding model's whole input, else at most `batch_tokens`."""
    if weights.is_embedding_model:
        return context_tokens
    return min(batch_tokens, _rounded(context_tokens, 256))


def is_mapping_worth_it(weights: Weights, machine: str) -> bool:
    """Whether weights should be mapped rather than read: not where much would be there twice.

    On a CPU that lays the model's types out anew, a mapped file stays resident beside the copy:
    measured with Q4_K, mapping took 1.5 times the memory of reading.
    """
    return 10 * _repacked_bytes(weights, 0, repacked_types(machine)) < weights.num_bytes


def repacked_types(machine: str) -> frozenset[str]:
    return _REPACKED_ARM if machine in ("arm64", "aarch64") else _REPACKED_X86


def overhead_bytes(weights: Weights) -> int:
    """The process itself and its tokenizer's tables."""
    return (
        PROCESS_BYTES
        + BYTES_PER_TOKEN * weights.vocabulary_size
        + BYTES_PER_MERGE * weights.num_merges
    )


def _weights_bytes(
    weights: Weights, num_on_gpu: int, *, mapped: bool, types: frozenset[str]
) -> tuple[int, int]:
    """Bytes of weights on the host and on GPUs."""
    output = weights.output_bytes or weights.embedding_bytes
    gpu = sum(_on_gpu(weights.bytes_by_layer, num_on_gpu)) + (output if num_on_gpu else 0)
    # A tied output on a GPU is a copy; the host keeps the original for looking tokens up.
    host = weights.num_bytes - gpu + (output if num_on_gpu and not weights.output_bytes else 0)
    if mapped:
        return host + _repacked_bytes(weights, num_on_gpu, types), gpu
    is_copied = weights.embedding_type in types and not weights.output_bytes and not num_on_gpu
    return host + (weights.embedding_bytes if is_copied else 0), gpu


def _repacked_bytes(weights: Weights, num_on_gpu: int, types: frozenset[str]) -> int:
    """Bytes of weights that the CPU lays out anew.

    The token embedding is looked up, not multiplied, and stays as it is; but where it also is the
    output, a second copy of it is multiplied. Layers on GPUs take their share away.
    """
    total = sum(size for name, size in weights.bytes_by_type.items() if name in types)
    if weights.embedding_type in types:
        total -= weights.embedding_bytes
    in_layers = sum(weights.bytes_by_layer) or 1
    on_host = 1 - sum(_on_gpu(weights.bytes_by_layer, num_on_gpu)) / in_layers
    tied = 0 if weights.output_bytes or num_on_gpu else weights.embedding_bytes
    return int(total * on_host) + (tied if weights.embedding_type in types else 0)


def _kv_bytes_by_layer(
    weights: Weights, context_tokens: int, batch_tokens: int, bytes_per_number: float
) -> list[int]:
    """Keys and values that one slot keeps in each layer, recurrent states shared out evenly.

    A sliding layer keeps its window and one batch, rounded up to 256 tokens.
    """
    cells = _rounded(context_tokens, 256)
    window = weights.sliding_window or cells
    sliding_cells = min(cells, _rounded(window + batch_tokens, 256))
    state = weights.state_bytes // max(1, weights.num_layers)
    return [
        int(size * (sliding_cells if slides else cells) * bytes_per_number) + state
        for size, slides in zip(weights.kv_elements_by_layer, weights.sliding_layers, strict=True)
    ]


def _checkpoint_bytes(weights: Weights, context_tokens: int, kv_type: str) -> int:
    """What one slot may keep of windows and states that cannot be rolled back; on the host."""
    window = min(weights.sliding_window or 0, context_tokens)
    sliding = sum(
        size
        for size, slides in zip(weights.kv_elements_by_layer, weights.sliding_layers, strict=True)
        if slides
    )
    return MAX_CHECKPOINTS * (int(sliding * window * KV_BYTES[kv_type]) + weights.state_bytes)


def _compute_bytes(weights: Weights, context_tokens: int, num_slots: int, batch_tokens: int) -> int:
    """What one batch needs while it passes through the widest place of the model.

    The widths were found by varying one size after the other and reading what llama.cpp reserves;
    they are exact for Qwen2, Llama, Gemma 3 and Qwen3-30B-A3B, where the feed-forward part is
    widest, and an upper bound (by up to half of this part) elsewhere.
    """
    embedding = weights.embedding_size
    queries = weights.num_heads * weights.key_size
    keys = weights.num_kv_heads * weights.key_size
    forward = weights.feed_forward_size
    in_feed_forward = 3 * forward + 5 * embedding
    in_attention = 3 * queries + 3 * embedding + 2 * keys
    in_experts = in_feed_forward + weights.experts_used * embedding
    at_the_end = 5 * embedding * batch_tokens
    if _has_logits(weights):
        at_the_end += _num_outputs(weights, num_slots, batch_tokens) * weights.vocabulary_size
    widest = max(batch_tokens * max(in_feed_forward, in_attention, in_experts), at_the_end)
    mask = 2 * batch_tokens * _rounded(context_tokens, 256)
    # A batch is converted to the weights' type before it is multiplied.
    converted = (1 if weights.bits_per_weight < 12 else 2) * batch_tokens * max(forward, queries)
    return 4 * widest + mask + converted


def _answer_bytes(weights: Weights, num_slots: int, batch_tokens: int) -> int:
    """Logits handed out on the host, and the sampler's candidates."""
    if not _has_logits(weights):
        return 0
    logits = 4 * _num_outputs(weights, num_slots, batch_tokens) * weights.vocabulary_size
    candidates = 0 if weights.is_embedding_model else BYTES_PER_CANDIDATE * weights.vocabulary_size
    return logits + candidates * num_slots


def _num_outputs(weights: Weights, num_slots: int, batch_tokens: int) -> int:
    """Positions of a batch whose logits are computed: all of an embedding model's input."""
    return batch_tokens if weights.is_embedding_model else min(batch_tokens, num_slots)


def _has_logits(weights: Weights) -> bool:
    """Encoders have no output over the vocabulary; embedding models made of decoders have."""
    return any(weights.kv_elements_by_layer) or weights.state_bytes > 0


def _on_gpu(by_layer: Sequence[int], num_on_gpu: int) -> Sequence[int]:
    """The entries of the layers on GPUs: the last ones, after the output."""
    first = len(by_layer) + 1 - num_on_gpu
    return by_layer[max(0, first) :]


def _rounded(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
