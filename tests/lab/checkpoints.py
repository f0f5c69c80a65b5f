"""Small Hugging Face checkpoints with random weights, one for each architecture that converts."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.tiny_models import CHATML, SPECIAL_TOKENS, vocabulary

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": False,
    "use_regex": False,
}
# An added token is cut out of the text as it stands.
_AS_IT_STANDS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
_SPLIT = {
    "type": "Sequence",
    "pretokenizers": [
        {
            "type": "Split",
            "pattern": {"Regex": QWEN2_PATTERN},
            "behavior": "Isolated",
            "invert": False,
        },
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
    ],
}

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """What was written, to compare with what was made of it."""

    folder: Path
    tensors: Mapping[str, Array]
    tokens: tuple[str, ...]
    merges: tuple[str, ...]


@dataclass(frozen=True)
class Sizes:
    hidden: int = 256
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    forward: int = 512
    extra_rows: int = 6
    config: Mapping[str, Any] = field(default_factory=dict)


def make_checkpoint(
    folder: Path,
    architecture: str = "Qwen2ForCausalLM",
    sizes: Sizes = Sizes(),
    *,
    dtype: str = "BF16",
    seed: int = 0,
) -> Checkpoint:
    """A whole checkpoint in `folder`. Its tokenizer is a byte-level BPE of Qwen2's pattern."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens, merges = vocabulary()
    rows = len(tokens) + sizes.extra_rows
    tensors = random_tensors(architecture, sizes, rows, seed=seed)
    write_safetensors(folder / "model.safetensors", tensors, dtype=dtype)
    config = {
        "architectures": [architecture],
        "vocab_size": rows,
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.forward,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "max_position_embeddings": 2048,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6,
        "norm_epsilon": 1e-5,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "model_type": architecture.removesuffix("ForCausalLM").lower(),
        **sizes.config,
    }
    ids = {token: number for number, token in enumerate(tokens)}
    eos = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    _write(folder / "config.json", config)
    _write(folder / "generation_config.json", {"eos_token_id": eos, "pad_token_id": eos[1]})
    _write(folder / "tokenizer.json", tokenizer_json(tokens, merges))
    _write(folder / "tokenizer_config.json", {"chat_template": CHATML, "add_bos_token": False})
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    return Checkpoint(folder, tensors, tokens, merges)


def tokenizer_json(tokens: tuple[str, ...], merges: tuple[str, ...]) -> dict[str, Any]:
    plain = tokens[: len(tokens) - len(SPECIAL_TOKENS)]
    return {
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(plain)},
            "merges": list(merges),
        },
        "pre_tokenizer": _SPLIT,
        "version": "1.0",
        "decoder": _BYTE_LEVEL,
        "added_tokens": [
            {
                "id": len(plain) + number,
                "content": token,
                "special": number < 2,
                **_AS_IT_STANDS,
            }
            for number, token in enumerate(SPECIAL_TOKENS)
        ],
    }


def random_tensors(architecture: str, sizes: Sizes, rows: int, *, seed: int) -> dict[str, Array]:
    """Numbers that bfloat16 holds exactly, so that every comparison can be exact."""
    generator = np.random.default_rng(seed)

    def matrix(*shape: int, scale: float = 0.05, around: float = 0.0) -> Array:
        values = around + scale * generator.standard_normal(shape, dtype=np.float32)
        return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)

    hidden, head = sizes.hidden, sizes.config.get("head_dim", sizes.hidden // sizes.heads)
    queries, keys = sizes.heads * head, sizes.kv_heads * head
    has_bias = architecture in ("Qwen2ForCausalLM", "Starcoder2ForCausalLM")
    tensors = {"model.embed_tokens.weight": matrix(rows, hidden)}
    for layer in range(sizes.layers):
        place = f"model.layers.{layer}"
        norms = [f"{place}.input_layernorm", f"{place}.post_attention_layernorm"]
        for name in norms:
            tensors[f"{name}.weight"] = matrix(hidden, around=1.0)
            if architecture == "Starcoder2ForCausalLM":
                tensors[f"{name}.bias"] = matrix(hidden)
        for letter, count in (("q", queries), ("k", keys), ("v", keys)):
            tensors[f"{place}.self_attn.{letter}_proj.weight"] = matrix(count, hidden)
            if has_bias:
                tensors[f"{place}.self_attn.{letter}_proj.bias"] = matrix(count)
        tensors[f"{place}.self_attn.o_proj.weight"] = matrix(hidden, queries)
        if architecture == "Qwen3ForCausalLM":
            tensors[f"{place}.self_attn.q_norm.weight"] = matrix(head, around=1.0)
            tensors[f"{place}.self_attn.k_norm.weight"] = matrix(head, around=1.0)
        if architecture == "Starcoder2ForCausalLM":
            tensors[f"{place}.self_attn.o_proj.bias"] = matrix(hidden)
            tensors[f"{place}.mlp.c_fc.weight"] = matrix(sizes.forward, hidden)
            tensors[f"{place}.mlp.c_fc.bias"] = matrix(sizes.forward)
            tensors[f"{place}.mlp.c_proj.weight"] = matrix(hidden, sizes.forward)
            tensors[f"{place}.mlp.c_proj.bias"] = matrix(hidden)
        else:
            tensors[f"{place}.mlp.gate_proj.weight"] = matrix(sizes.forward, hidden)
            tensors[f"{place}.mlp.up_proj.weight"] = matrix(sizes.forward, hidden)
            tensors[f"{place}.mlp.down_proj.weight"] = matrix(hidden, sizes.forward)
    tensors["model.norm.weight"] = matrix(hidden, around=1.0)
    if architecture == "Starcoder2ForCausalLM":
        tensors["model.norm.bias"] = matrix(hidden)
    if not sizes.config.get("tie_word_embeddings", False):
        tensors["lm_head.weight"] = matrix(rows, hidden)
    return tensors


def write_safetensors(path: Path, tensors: Mapping[str, Array], *, dtype: str = "BF16") -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    contents, end = [], 0
    for name, values in tensors.items():
        content = _encoded(values, dtype)
        start, end = end, end + len(content)
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [start, end]}
        contents.append(content)
    described = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(described)) + described + b"".join(contents))


def _encoded(values: Array, dtype: str) -> bytes:
    match dtype:
        case "F32":
            return values.astype("<f4").tobytes()
        case "F16":
            return values.astype("<f2").tobytes()
    return (np.ascontiguousarray(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
