"""What each layer of a GGUF model keeps for a token: the facts behind the KV cache's size.

Follows what llama.cpp allocates (its `llama_kv_cache`, `llama_kv_cache_iswa`,
`llama_memory_recurrent` and the hyper-parameters each architecture loads), as of autumn 2026.
"""

from __future__ import annotations

from codehearth.models.gguf_metadata import Metadata

# Every n-th layer looks at the whole context where the file does not say it itself; True: the
# first of each n, else the last. Architectures that are missing here have full attention in
# llama.cpp even where the file names a window (Qwen2, Phi-3).
_SLIDING_PERIOD: dict[str, tuple[int, bool]] = {
    "afmoe": (4, False),
    "cohere2": (4, False),
    "exaone4": (4, False),
    "gemma-embedding": (6, False),
    "gemma2": (2, False),
    "gemma3": (6, False),
    "gemma3n": (5, False),
    "gpt-oss": (2, False),
    "laguna": (4, True),
    "llama4": (4, False),
    "mellum": (4, False),
    "modern-bert": (3, True),
    "olmo2": (4, False),
    "plamo3": (8, False),
    "smallthinker": (4, True),
}

# Encoders and diffusion models compute without a cache.
_WITHOUT_CACHE = frozenset(
    {
        "bert",
        "dream",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "llada",
        "llada-moe",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "rnd1",
    }
)

_RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
# Of every n layers the last has attention, the others a recurrent state, unless the file says.
_FULL_ATTENTION_INTERVAL = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}


def sliding_layers(metadata: Metadata, num_layers: int) -> tuple[bool, ...]:
    if not metadata.of("attention.sliding_window", default=0):
        return (False,) * num_layers
    pattern = metadata.value_of("attention.sliding_window_pattern")
    if isinstance(pattern, tuple):
        return tuple(bool(item) for item in pattern[:num_layers]) + (False,) * max(
            0, num_layers - len(pattern)
        )
    if metadata.architecture not in _SLIDING_PERIOD:
        return (False,) * num_layers
    default, dense_first = _SLIDING_PERIOD[metadata.architecture]
    period = metadata.of("attention.sliding_window_pattern", default=default) or 1
    dense = 0 if dense_first else period - 1
    return tuple(layer % period != dense for layer in range(num_layers))


def kv_elements(
    metadata: Metadata, num_layers: int, kv_heads: tuple[int, ...], *, head_size: int
) -> tuple[int, ...]:
    """Numbers that each layer's cache holds for one token, keys and values together."""
    if metadata.architecture in _WITHOUT_CACHE:
        return (0,) * num_layers
    key_size = metadata.of("attention.key_length", default=head_size)
    value_size = metadata.of("attention.value_length", default=head_size)
    sliding_key_size = metadata.of("attention.key_length_swa", default=key_size)
    sliding_value_size = metadata.of("attention.value_length_swa", default=value_size)
    if metadata.of("attention.key_length_mla", default=0):
        # Latent attention keeps one compressed row, and reads the values out of it.
        value_size = sliding_value_size = 0
    recurrent = recurrent_layers(metadata, num_layers, kv_heads)
    return tuple(
        0
        if is_recurrent
        else heads * (sliding_key_size + sliding_value_size if slides else key_size + value_size)
        for heads, slides, is_recurrent in zip(
            kv_heads, sliding_layers(metadata, num_layers), recurrent, strict=True
        )
    )


def recurrent_layers(
    metadata: Metadata, num_layers: int, kv_heads: tuple[int, ...]
) -> tuple[bool, ...]:
    if metadata.architecture in _RECURRENT:
        return (True,) * num_layers
    marked = metadata.value_of("attention.recurrent_layers")
    if isinstance(marked, tuple) and len(marked) >= num_layers:
        return tuple(bool(item) for item in marked[:num_layers])
    if metadata.architecture in _FULL_ATTENTION_INTERVAL:
        default = _FULL_ATTENTION_INTERVAL[metadata.architecture]
        interval = metadata.of("full_attention_interval", default=default) or default
        return tuple((layer + 1) % interval != 0 for layer in range(num_layers))
    # Jamba, Granite 4, Falcon-H1's kin: a layer without KV heads is a recurrent one.
    return tuple(heads == 0 for heads in kv_heads)


def state_bytes(metadata: Metadata, num_layers: int, kv_heads: tuple[int, ...]) -> int:
    """Bytes that the recurrent layers keep for one sequence, in 32-bit floats."""
    inner = metadata.of("ssm.inner_size", default=0)
    state = metadata.of("ssm.state_size", default=0)
    groups = metadata.of("ssm.group_count", default=0)
    kernel = metadata.of("ssm.conv_kernel", default=0)
    if not inner:
        return 0
    convolution = max(0, kernel - 1) * (inner + 2 * groups * state)
    return sum(recurrent_layers(metadata, num_layers, kv_heads)) * 4 * (convolution + state * inner)
