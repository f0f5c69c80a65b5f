"""Which Hugging Face architectures become which of llama.cpp's: names of tensors, facts. Pure.

The names are those of llama.cpp's own converter (`convert_hf_to_gguf.py` and the tables of the
`gguf` package), so that a file made here loads as one made there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codehearth.errors import BadWeights, Unsupported
from codehearth.lab import gguf_bytes
from codehearth.lab.gguf_bytes import Fact
from codehearth.models.checkpoint_config import MAX_LAYERS, Config

_ATTENTION = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
}
_GATED = {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
_NORMED = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
_PLAIN = {"mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
_OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
# ChatGLM2 and 3, CodeGeeX2: queries, keys and values are one matrix, gate and up another.
_FUSED = {
    "input_layernorm": "attn_norm",
    "self_attention.query_key_value": "attn_qkv",
    "self_attention.dense": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
}
_FUSED_OUTER = {
    "transformer.embedding.word_embeddings": "token_embd",
    "transformer.encoder.final_layernorm": "output_norm",
    "transformer.output_layer": "output",
}


@dataclass(frozen=True)
class Architecture:
    """`layer` names modules inside a layer, `outer` those outside of layers, which begin with
    `layers`. `has_pairs`: the rows of queries and keys are kept as pairs of a rotary embedding, not
    as halves. `has_rms`: norms are root mean squares. `rotated` is the share of a head that the
    rotary embedding turns. `control_tokens` are those that only the checkpoint's own code adds to
    its tokenizer, in this order, and `text_prefix` is what that code sets before every text."""

    name: str
    layer: Mapping[str, str]
    outer: Mapping[str, str] = field(default_factory=lambda: _OUTER)
    layers: str = "model.layers"
    has_pairs: bool = False
    has_rms: bool = True
    rotated: float = 1.0
    control_tokens: tuple[str, ...] = ()
    text_prefix: str = ""
    ignored: frozenset[str] = field(default_factory=frozenset)


_LLAMA = Architecture("llama", {**_ATTENTION, **_GATED}, has_pairs=True)
_CHATGLM = Architecture(
    "chatglm",
    _FUSED,
    outer=_FUSED_OUTER,
    layers="transformer.encoder.layers",
    rotated=0.5,
    control_tokens=("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"),
    text_prefix="[gMASK]sop",
)
ARCHITECTURES: Mapping[str, Architecture] = {
    "Qwen2ForCausalLM": Architecture("qwen2", {**_ATTENTION, **_GATED}),
    "Qwen3ForCausalLM": Architecture("qwen3", {**_ATTENTION, **_GATED, **_NORMED}),
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "ChatGLMModel": _CHATGLM,
    "ChatGLMForConditionalGeneration": _CHATGLM,
    "Starcoder2ForCausalLM": Architecture("starcoder2", {**_ATTENTION, **_PLAIN}, has_rms=False),
}

# What llama.cpp itself does not know: no converter could make a GGUF of these.
_NOT_IN_LLAMA_CPP = {"CodeGenForCausalLM": "CodeGen", "XGLMForCausalLM": "XGLM (InCoder)"}


def architecture_of(config: Config) -> Architecture:
    """The architecture that the checkpoint's configuration names; raises Unsupported."""
    named = config.values.get("architectures")
    name = str(named[0])[:80] if isinstance(named, list) and named else "none"
    if config.section("quantization_config"):
        raise Unsupported(
            "The checkpoint is quantised already, in a format of another engine.",
            hint="take the checkpoint in bf16 or fp16",
            param="model",
        )
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    families = (known.removesuffix("ForCausalLM") for known in ARCHITECTURES)
    can = ", ".join(known for known in families if known != "ChatGLMForConditionalGeneration")
    if name in _NOT_IN_LLAMA_CPP:
        raise Unsupported(
            f"llama.cpp has no {_NOT_IN_LLAMA_CPP[name]}, so there is no GGUF of it.",
            hint=f"the engine transformers loads it; to GGUF can be converted: {can}",
            param="model",
        )
    raise Unsupported(
        f"The architecture {name} cannot be converted here.",
        hint=f"can be converted: {can}; for others, pull a GGUF that its makers published",
        param="model",
    )


def tensor_name(architecture: Architecture, name: str) -> str | None:
    """llama.cpp's name of a tensor, None for one that it makes itself; raises Unsupported.

    >>> tensor_name(_LLAMA, "model.layers.3.mlp.up_proj.weight")
    'blk.3.ffn_up.weight'
    """
    module, _, kind = name.rpartition(".")
    if name.endswith(".inv_freq"):
        return None
    if module in architecture.outer:
        return f"{architecture.outer[module]}.{kind}"
    found = re.fullmatch(rf"{re.escape(architecture.layers)}\.(\d{{1,4}})\.(.+)", module)
    if found is None or found[2] not in architecture.layer:
        raise Unsupported(
            f"The checkpoint holds '{name[:100]}', which {architecture.name} does not have.",
            hint="it is another model than its config.json says",
            param="model",
        )
    return f"blk.{found[1]}.{architecture.layer[found[2]]}.{kind}"


def stored_name(architecture: Architecture, name: str) -> str:
    """A checkpoint's name of a tensor, the way back of `tensor_name`; raises Unsupported.

    >>> stored_name(ARCHITECTURES["Qwen2ForCausalLM"], "blk.3.ffn_up.weight")
    'model.layers.3.mlp.up_proj.weight'
    """
    module, _, kind = name.rpartition(".")
    found = re.fullmatch(r"blk\.(\d{1,4})\.(.+)", module)
    names = architecture.layer if found else architecture.outer
    short = found[2] if found else module
    stored = next((one for one, other in names.items() if other == short), None)
    if stored is None:
        raise Unsupported(
            f"The GGUF holds '{name[:100]}', which {architecture.name} does not have here.",
            param="model",
        )
    begin = f"{architecture.layers}.{found[1]}." if found else ""
    return f"{begin}{stored}.{kind}"


def num_layers(config: Config) -> int:
    return config.count("num_hidden_layers", "num_layers", maximum=MAX_LAYERS)


def num_heads(config: Config) -> int:
    return max(1, config.count("num_attention_heads"))


def num_kv_heads(config: Config) -> int:
    names = ("num_key_value_heads", "multi_query_group_num")
    return max(1, config.count(*names, default=num_heads(config)))


def head_size(config: Config) -> int:
    size = config.count("hidden_size") // num_heads(config)
    return config.count("head_dim", "kv_channels", default=size)


def facts(architecture: Architecture, config: Config, *, vocabulary_size: int) -> tuple[Fact, ...]:
    """Everything that llama.cpp asks about the network."""
    prefix = architecture.name
    norm = "layer_norm_rms_epsilon" if architecture.has_rms else "layer_norm_epsilon"
    spellings = ("rms_norm_eps", "layernorm_epsilon")
    if not architecture.has_rms:
        spellings = ("norm_epsilon", "layer_norm_eps")
    epsilon = _number(config, *spellings, default=1e-5)
    size = head_size(config)
    return (
        gguf_bytes.whole(f"{prefix}.block_count", num_layers(config)),
        gguf_bytes.whole(
            f"{prefix}.context_length", config.count("max_position_embeddings", "seq_length")
        ),
        gguf_bytes.whole(f"{prefix}.embedding_length", config.count("hidden_size")),
        gguf_bytes.whole(
            f"{prefix}.feed_forward_length", config.count("intermediate_size", "ffn_hidden_size")
        ),
        gguf_bytes.whole(f"{prefix}.attention.head_count", num_heads(config)),
        gguf_bytes.whole(f"{prefix}.attention.head_count_kv", num_kv_heads(config)),
        gguf_bytes.whole(f"{prefix}.attention.key_length", size),
        gguf_bytes.whole(f"{prefix}.attention.value_length", size),
        gguf_bytes.number(f"{prefix}.attention.{norm}", epsilon),
        gguf_bytes.whole(f"{prefix}.rope.dimension_count", int(size * architecture.rotated)),
        gguf_bytes.number(f"{prefix}.rope.freq_base", rope_base(config)),
        gguf_bytes.whole(f"{prefix}.vocab_size", vocabulary_size),
        *_scaling(prefix, config),
    )


def rope_base(config: Config) -> float:
    scaling = _rope(config)
    base = scaling.get("rope_theta", config.values.get("rope_theta", 10000.0))
    ratio = config.values.get("rope_ratio") or 1.0  # ChatGLM's, of long contexts
    return _positive(config, "rope_theta", base) * _positive(config, "rope_ratio", ratio)


def rope_factors(config: Config) -> tuple[float, ...]:
    """Llama 3.1's divisors of the rotary frequencies, one for each pair; empty for others.

    The rule is the one of transformers' `_compute_llama3_parameters`: long waves are slowed by
    `factor`, short ones stay, and between the two bounds it goes over smoothly.
    """
    scaling = _rope(config)
    if _rope_type(scaling) != "llama3":
        return ()
    factor = _positive(config, "factor", scaling.get("factor", 8.0))
    low = _positive(config, "low_freq_factor", scaling.get("low_freq_factor", 1.0))
    high = _positive(config, "high_freq_factor", scaling.get("high_freq_factor", 4.0))
    old = _positive(config, "context", scaling.get("original_max_position_embeddings", 8192))
    if high <= low:
        raise config.bad("gives the rotary embedding a scaling without a range")
    size, base = head_size(config), rope_base(config)
    return tuple(
        _factor(2 * math.pi * base ** (2 * pair / size), old, factor=factor, low=low, high=high)
        for pair in range(size // 2)
    )


def _factor(wave: float, old: float, *, factor: float, low: float, high: float) -> float:
    if wave < old / high:
        return 1.0
    if wave > old / low:
        return factor
    smooth = (old / wave - low) / (high - low)
    return 1.0 / ((1.0 - smooth) / factor + smooth)


def _scaling(prefix: str, config: Config) -> tuple[Fact, ...]:
    scaling = _rope(config)
    kind = _rope_type(scaling)
    if kind in ("", "default", "llama3"):
        return ()
    if kind not in ("linear", "yarn"):
        raise Unsupported(
            f"The rotary embedding's scaling '{kind[:40]}' cannot be converted here.",
            hint="pull a GGUF that the model's makers published",
            param="model",
        )
    facts = [
        gguf_bytes.text(f"{prefix}.rope.scaling.type", kind),
        gguf_bytes.number(
            f"{prefix}.rope.scaling.factor", _positive(config, "factor", scaling.get("factor", 1))
        ),
    ]
    original = scaling.get("original_max_position_embeddings")
    if isinstance(original, int):
        facts.append(gguf_bytes.whole(f"{prefix}.rope.scaling.original_context_length", original))
    return tuple(facts)


def _rope(config: Config) -> Mapping[str, Any]:
    """transformers 5 writes `rope_parameters`, older releases `rope_scaling`."""
    return config.section("rope_parameters") or config.section("rope_scaling")


def _rope_type(scaling: Mapping[str, Any]) -> str:
    return str(scaling.get("rope_type", scaling.get("type", "")) or "")


def _number(config: Config, *names: str, default: float) -> float:
    for name in names:
        if config.values.get(name) is not None:
            return _positive(config, name, config.values[name])
    return default


def _positive(config: Config, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e18:
        raise _bad(config, name, value)
    return float(value)


def _bad(config: Config, name: str, value: object) -> BadWeights:
    return config.bad(f"says {str(value)[:40]!r} for '{name}'")
