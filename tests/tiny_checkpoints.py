"""Makes Hugging Face checkpoints for tests: real architectures, real tokenizers, random numbers.

Written without torch, so that tests of what reads them need no engine. Each family is a table of
its tensors' sizes and its `config.json`; the tokenizer is the one of `tiny_models`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tiny_models import CHATML, SPECIAL_TOKENS, vocabulary

WIDTH, HEADS, LAYERS, FORWARD, CONTEXT = 64, 4, 2, 128, 4096
MASKS = ("<|mask:0|>", "<|mask:1|>", "<|endofmask|>")  # InCoder's, for infilling

Sizes = dict[str, tuple[int, ...]]


def tiny_checkpoint(
    folder: Path,
    family: str = "qwen2",
    *,
    seed: int = 0,
    dtype: str = "float32",
    chat_template: str | None = CHATML,
    end: str = "<|im_end|>",
    pad: str = "<|endoftext|>",
    specials: tuple[str, ...] = (),
) -> Path:
    """A checkpoint of `family` in `folder` with random weights; returns the folder. `end` is the
    token that its files say ends an answer, `specials` are tokens that it has beside the usual."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens, merges = vocabulary()
    specials = (*specials, *(MASKS if family == "xglm" else ()))
    tokens = (*tokens, *specials)
    config, sizes = FAMILIES[family](len(tokens))
    ids = {token: number for number, token in enumerate(tokens)}
    common = {
        "vocab_size": len(tokens),
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids[end],
        "pad_token_id": ids[pad],
        "dtype": dtype,
    }
    _write_json(folder / "config.json", config | common)
    _write_json(folder / "generation_config.json", {"eos_token_id": ids[end]})
    facts = {"eos_token": end, "pad_token": pad}
    write_tokenizer(
        folder, tokens, merges, chat_template=chat_template, specials=specials, facts=facts
    )
    write_safetensors(folder / "model.safetensors", random_tensors(sizes, seed), dtype=dtype)
    return folder


def random_tensors(sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Numbers as a fresh model has them: norms are one, biases zero, all else is small noise."""
    generator = np.random.default_rng(seed)
    tensors = {}
    for name, shape in sizes.items():
        if len(shape) == 1:
            value = np.ones if name.endswith("weight") else np.zeros
            tensors[name] = value(shape, dtype=np.float32)
        else:
            tensors[name] = (generator.standard_normal(shape) * 0.3).astype(np.float32)
    return tensors


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray], *, dtype: str) -> None:
    """The format: eight bytes of length, a header of JSON, the numbers."""
    header: dict[str, Any] = {}
    parts, offset = [], 0
    for name, tensor in tensors.items():
        raw = _BYTES[dtype](tensor)
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(raw)],
        }
        parts.append(raw)
        offset += len(raw)
    encoded = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + b"".join(parts))


def write_tokenizer(
    folder: Path,
    tokens: tuple[str, ...],
    merges: tuple[str, ...],
    *,
    chat_template: str | None,
    specials: tuple[str, ...],
    facts: Mapping[str, str],
) -> None:
    special = {*SPECIAL_TOKENS, *specials}
    added = [
        {
            "id": number,
            "content": token,
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for number, token in enumerate(tokens)
        if token in special
    ]
    tokenizer = {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": False,
            "use_regex": True,
        },
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }
    _write_json(folder / "tokenizer.json", tokenizer)
    common = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>"}
    _write_json(folder / "tokenizer_config.json", common | dict(facts))
    if chat_template is not None:
        (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")


# --- the families: config.json without what they share, and the tensors ---------------------------


def _llama_like(
    model_type: str, size: int, *, has_bias: bool, width: int = WIDTH, heads: int = HEADS
) -> tuple[dict[str, Any], Sizes]:
    kv = width // 2
    config = {
        "model_type": model_type,
        "architectures": [f"{model_type.capitalize()}ForCausalLM"],
        "hidden_size": width,
        "intermediate_size": FORWARD,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
    }
    sizes: Sizes = {"model.embed_tokens.weight": (size, width)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        for letter, rows in (("q", width), ("k", kv), ("v", kv)):
            sizes[f"{at}.self_attn.{letter}_proj.weight"] = (rows, width)
            if has_bias:
                sizes[f"{at}.self_attn.{letter}_proj.bias"] = (rows,)
        sizes[f"{at}.self_attn.o_proj.weight"] = (width, width)
        sizes[f"{at}.mlp.gate_proj.weight"] = (FORWARD, width)
        sizes[f"{at}.mlp.up_proj.weight"] = (FORWARD, width)
        sizes[f"{at}.mlp.down_proj.weight"] = (width, FORWARD)
        sizes[f"{at}.input_layernorm.weight"] = (width,)
        sizes[f"{at}.post_attention_layernorm.weight"] = (width,)
    return config, sizes | {"model.norm.weight": (width,), "lm_head.weight": (size, width)}


def _qwen2(size: int) -> tuple[dict[str, Any], Sizes]:
    return _llama_like("qwen2", size, has_bias=True)


def _qwen2_wide(size: int) -> tuple[dict[str, Any], Sizes]:
    """Heads of 64 numbers: some engines compute no smaller ones."""
    return _llama_like("qwen2", size, has_bias=True, width=2 * WIDTH, heads=2)


def _llama(size: int) -> tuple[dict[str, Any], Sizes]:
    return _llama_like("llama", size, has_bias=False)


def _codegen(size: int) -> tuple[dict[str, Any], Sizes]:
    config = {
        "model_type": "codegen",
        "architectures": ["CodeGenForCausalLM"],
        "n_embd": WIDTH,
        "n_head": HEADS,
        "n_layer": LAYERS,
        "n_positions": CONTEXT,
        "n_ctx": CONTEXT,
        "n_inner": FORWARD,
        "rotary_dim": 8,
        "activation_function": "gelu_new",
        "tie_word_embeddings": False,
    }
    sizes: Sizes = {"transformer.wte.weight": (size, WIDTH)}
    for layer in range(LAYERS):
        at = f"transformer.h.{layer}"
        sizes |= _with_bias(f"{at}.ln_1", (WIDTH,))
        sizes[f"{at}.attn.qkv_proj.weight"] = (3 * WIDTH, WIDTH)
        sizes[f"{at}.attn.out_proj.weight"] = (WIDTH, WIDTH)
        sizes |= _with_bias(f"{at}.mlp.fc_in", (FORWARD, WIDTH))
        sizes |= _with_bias(f"{at}.mlp.fc_out", (WIDTH, FORWARD))
    sizes |= _with_bias("transformer.ln_f", (WIDTH,)) | _with_bias("lm_head", (size, WIDTH))
    return config, sizes


def _xglm(size: int) -> tuple[dict[str, Any], Sizes]:
    config = {
        "model_type": "xglm",
        "architectures": ["XGLMForCausalLM"],
        "d_model": WIDTH,
        "ffn_dim": FORWARD,
        "attention_heads": HEADS,
        "num_layers": LAYERS,
        "max_position_embeddings": CONTEXT,
        "activation_function": "gelu",
        "scale_embedding": True,
        "tie_word_embeddings": False,
    }
    sizes: Sizes = {"model.embed_tokens.weight": (size, WIDTH)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        for letter in ("q", "k", "v", "out"):
            sizes |= _with_bias(f"{at}.self_attn.{letter}_proj", (WIDTH, WIDTH))
        sizes |= _with_bias(f"{at}.self_attn_layer_norm", (WIDTH,))
        sizes |= _with_bias(f"{at}.fc1", (FORWARD, WIDTH)) | _with_bias(
            f"{at}.fc2", (WIDTH, FORWARD)
        )
        sizes |= _with_bias(f"{at}.final_layer_norm", (WIDTH,))
    sizes |= _with_bias("model.layer_norm", (WIDTH,))
    return config, sizes | {"lm_head.weight": (size, WIDTH)}


def _gpt_bigcode(size: int) -> tuple[dict[str, Any], Sizes]:
    head = WIDTH // HEADS
    config = {
        "model_type": "gpt_bigcode",
        "architectures": ["GPTBigCodeForCausalLM"],
        "n_embd": WIDTH,
        "n_head": HEADS,
        "n_layer": LAYERS,
        "n_positions": CONTEXT,
        "n_inner": FORWARD,
        "multi_query": True,
        "activation_function": "gelu_pytorch_tanh",
        "tie_word_embeddings": False,
    }
    sizes: Sizes = {
        "transformer.wte.weight": (size, WIDTH),
        "transformer.wpe.weight": (CONTEXT, WIDTH),
    }
    for layer in range(LAYERS):
        at = f"transformer.h.{layer}"
        sizes |= _with_bias(f"{at}.ln_1", (WIDTH,)) | _with_bias(f"{at}.ln_2", (WIDTH,))
        sizes |= _with_bias(f"{at}.attn.c_attn", (WIDTH + 2 * head, WIDTH))
        sizes |= _with_bias(f"{at}.attn.c_proj", (WIDTH, WIDTH))
        sizes |= _with_bias(f"{at}.mlp.c_fc", (FORWARD, WIDTH))
        sizes |= _with_bias(f"{at}.mlp.c_proj", (WIDTH, FORWARD))
    sizes |= _with_bias("transformer.ln_f", (WIDTH,))
    return config, sizes | {"lm_head.weight": (size, WIDTH)}


def _with_bias(name: str, shape: tuple[int, ...]) -> Sizes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


FAMILIES: Mapping[str, Callable[[int], tuple[dict[str, Any], Sizes]]] = {
    "qwen2": _qwen2,
    "qwen2-wide": _qwen2_wide,
    "llama": _llama,
    "codegen": _codegen,
    "xglm": _xglm,
    "gpt_bigcode": _gpt_bigcode,
}

_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_BYTES: Mapping[str, Callable[[np.ndarray], bytes]] = {
    "float32": lambda tensor: tensor.tobytes(),
    "float16": lambda tensor: tensor.astype(np.float16).tobytes(),
    # bfloat16 is the upper half of float32.
    "bfloat16": lambda tensor: (tensor.view(np.uint32) >> 16).astype(np.uint16).tobytes(),
}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
