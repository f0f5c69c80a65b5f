"""How many bytes a model will need under the transformers worker, before anything is started.

Pure arithmetic, as `memory` is for llama.cpp; the same parts, differently made up. Weights are in
memory in the type that is computed in, keys and values grow with the answers up to what is counted
here, and a batch's logits are kept in float32.

"Measured": torch 2.13 (CPU) and transformers 5.23 on Linux x86-64, a model of half a billion
parameters. Not counted: pages of the weights' file, which stay mapped beside quantised weights
until the system wants them, and what loading needs for a moment.

"Published": worked out of what the makers of ChatGLM2-6B tell
(github.com/zai-org/ChatGLM2-6B; CodeGeeX2 repeats it), in units of 2^30 bytes. bf16: 12.8 while
8192 tokens are generated (weights 11.63, keys and values 0.22 of it); 13.1 when 2048 tokens
are read at once. int8: 8.2, int4: 5.5. `tests/models/test_published_memory.py` holds the prediction
to these and others.
"""

from __future__ import annotations

from codehearth.models.facts import Weights
from codehearth.models.memory import Footprint

# Measured: the tokenizer's tables, Qwen2's vocabulary against a small one.
BYTES_PER_TOKEN = 700

# Published: the rest of the 12.8. A CUDA context, the libraries' workspaces, PyTorch's allocator.
# Measured on an H200: 715 and 723 MiB beside weights of 7B and 0.5B once these were loaded; then
# with answers 1.6 GiB at most in all, with what `predict` counts for them 7 % below and 11 % above
# what the driver told (tests/models/test_gpu_memory.py).
CUDA_BYTES = 1 << 30

_COMPUTED_BYTES = {"F32": 4, "fp32": 4}  # all else is computed in two
# bitsandbytes leaves the embedding and the output as they are. nf4 keeps a float32 for 64 weights.
_QUANTISED_BYTES = {"int8": 1.0, "int4": 0.5 + 4 / 64}
_LOGIT_COPIES = 4  # as they came, as probabilities, sorted, cumulated
# Published: 13.1 against 12.8. PyTorch's allocator keeps what was freed for the next of that size.
_KEPT_BLOCKS = 2


def predict(
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
    precision: str,
    process_bytes: int,
) -> Footprint:
    """What a child needs with `num_slots` answers of `context_tokens` each at a time.

    `precision` is what was asked for, auto: as the weights are. `process_bytes` is what the
    engine's process holds before any weights (`prediction` knows it). `kv_type`, `mapped` and
    `machine` mean nothing here: the worker does as PyTorch does.
    """
    size = computed_bytes(weights, precision)
    in_memory = weights_bytes(weights, precision)
    kv = num_slots * context_tokens * sum(weights.kv_elements_by_layer) * size
    compute = _compute_bytes(weights, context_tokens, num_slots, batch_tokens, size)
    compute += _product_bytes(weights, batch_tokens, precision, size)
    process = process_bytes + BYTES_PER_TOKEN * weights.vocabulary_size
    on_gpu = min(1.0, gpu_layers / (weights.num_layers + 1))
    contexts = CUDA_BYTES * num_gpus if on_gpu else 0
    return Footprint(
        weights_bytes=in_memory,
        kv_bytes=kv,
        compute_bytes=compute,
        overhead_bytes=process + contexts,
        gpu_bytes=int(on_gpu * (in_memory + kv + compute)) + contexts,
    )


def computed_bytes(weights: Weights, precision: str) -> int:
    """Bytes of one number of the type that is computed in."""
    return _COMPUTED_BYTES.get(weights.precision if precision == "auto" else precision, 2)


def weights_bytes(weights: Weights, precision: str) -> int:
    """What the weights take once they are loaded."""
    is_packed = weights.kind == "safetensors" and weights.precision not in ("F32", "F16", "BF16")
    if is_packed and precision == "auto":
        return weights.num_bytes
    size = computed_bytes(weights, precision)
    if precision not in _QUANTISED_BYTES:
        return weights.num_parameters * size
    left = unquantised_parameters(weights)
    return int(left * size + (weights.num_parameters - left) * _QUANTISED_BYTES[precision])


def unquantised_parameters(weights: Weights) -> int:
    """The embedding and the output, which bitsandbytes leaves as they are; both have a number for
    each token and each width."""
    one = weights.vocabulary_size * weights.embedding_size
    return min(weights.num_parameters, one * (2 if weights.output_bytes else 1))


def _compute_bytes(
    weights: Weights, context_tokens: int, num_slots: int, batch_tokens: int, size: int
) -> int:
    """What one portion of a prompt or one token of every answer needs on its way through."""
    batch = max(batch_tokens, num_slots)
    widths = 3 * weights.feed_forward_size + 6 * weights.embedding_size
    mask = batch * context_tokens * size
    logits = 4 * _LOGIT_COPIES * num_slots * weights.vocabulary_size
    # While a token is added to a layer's keys and values, they are there twice.
    grown = num_slots * context_tokens * max(weights.kv_elements_by_layer, default=0) * size
    return _KEPT_BLOCKS * batch * widths * size + mask + logits + grown


def _product_bytes(weights: Weights, batch_tokens: int, precision: str, size: int) -> int:
    """What multiplying with quantised weights needs beside: a matrix as it is computed with, or a
    result in 32 bits."""
    if precision == "int4":
        return weights.feed_forward_size * weights.embedding_size * size
    return 4 * batch_tokens * weights.feed_forward_size if precision == "int8" else 0
