"""A tiny CodeGeeX2: its files as they are published, and what it computes, in numpy.

The computation follows the published `modeling_chatglm.py` of ChatGLM2: root mean square norms,
queries, keys and values in one matrix with keys and values for groups of heads, a rotary embedding
in pairs over the first half of each head, SwiGLU over two halves of one matrix.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.lab.checkpoints import Array, write_safetensors
from tests.lab.test_vocabularies import PIECES, sentencepiece

WIDTH, LAYERS, HEADS, GROUPS, HEAD, FORWARD, ROWS = 256, 2, 4, 2, 64, 512, 320
EPSILON = 1e-5
CONTROLS = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")  # behind the pieces
PREFIX = (len(PIECES) + 1, len(PIECES) + 3)  # [gMASK] sop
END = 2


@dataclass(frozen=True)
class TinyChatGlm:
    folder: Path
    tensors: dict[str, Array]

    def logprobs(self, ids: Sequence[int]) -> Array:
        """(T, V) of log-probabilities in float64."""
        tensors = {name: tensor.astype(np.float64) for name, tensor in self.tensors.items()}
        x = tensors["transformer.embedding.word_embeddings.weight"][list(ids)]
        for layer in range(LAYERS):
            x = _layer(x, tensors, f"transformer.encoder.layers.{layer}")
        x = _norm(x, tensors["transformer.encoder.final_layernorm.weight"])
        logits = x @ tensors["transformer.output_layer.weight"].T
        return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def tiny_chatglm(folder: Path, *, seed: int = 0) -> TinyChatGlm:
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)

    def matrix(*shape: int, around: float = 0.0, scale: float = 0.08) -> Array:
        return (around + scale * generator.standard_normal(shape)).astype(np.float32)

    tensors = {
        "transformer.embedding.word_embeddings.weight": matrix(ROWS, WIDTH, scale=1.0),
        "transformer.rotary_pos_emb.inv_freq": matrix(HEAD // 4),
    }
    for layer in range(LAYERS):
        at = f"transformer.encoder.layers.{layer}"
        rows = (HEADS + 2 * GROUPS) * HEAD
        tensors[f"{at}.input_layernorm.weight"] = matrix(WIDTH, around=1.0)
        tensors[f"{at}.self_attention.query_key_value.weight"] = matrix(rows, WIDTH)
        tensors[f"{at}.self_attention.query_key_value.bias"] = matrix(rows)
        tensors[f"{at}.self_attention.dense.weight"] = matrix(WIDTH, HEADS * HEAD)
        tensors[f"{at}.post_attention_layernorm.weight"] = matrix(WIDTH, around=1.0)
        tensors[f"{at}.mlp.dense_h_to_4h.weight"] = matrix(2 * FORWARD, WIDTH)
        tensors[f"{at}.mlp.dense_4h_to_h.weight"] = matrix(WIDTH, FORWARD)
    tensors["transformer.encoder.final_layernorm.weight"] = matrix(WIDTH, around=1.0)
    tensors["transformer.output_layer.weight"] = matrix(ROWS, WIDTH, scale=0.3)
    write_safetensors(folder / "model.safetensors", tensors, dtype="F32")
    sentencepiece(folder)
    _write(folder / "config.json", _CONFIG)
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "ChatGLMTokenizer"})
    # Never run, and it would tell: the checkpoint's own code.
    (folder / "modeling_chatglm.py").write_text("raise SystemExit('this code must not run')\n")
    return TinyChatGlm(folder, tensors)


_CONFIG: dict[str, Any] = {
    "model_type": "chatglm",
    "architectures": ["ChatGLMModel"],
    "auto_map": {"AutoModelForCausalLM": "modeling_chatglm.ChatGLMForConditionalGeneration"},
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "hidden_size": WIDTH,
    "ffn_hidden_size": FORWARD,
    "kv_channels": HEAD,
    "num_attention_heads": HEADS,
    "num_layers": LAYERS,
    "multi_query_attention": True,
    "multi_query_group_num": GROUPS,
    "padded_vocab_size": ROWS,
    "seq_length": 2048,
    "layernorm_epsilon": EPSILON,
    "rmsnorm": True,
    "eos_token_id": END,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}


def _layer(x: Array, tensors: dict[str, Array], at: str) -> Array:
    normed = _norm(x, tensors[f"{at}.input_layernorm.weight"])
    fused = normed @ tensors[f"{at}.self_attention.query_key_value.weight"].T
    fused += tensors[f"{at}.self_attention.query_key_value.bias"]
    x = x + _attention(fused) @ tensors[f"{at}.self_attention.dense.weight"].T
    normed = _norm(x, tensors[f"{at}.post_attention_layernorm.weight"])
    gate, up = np.split(normed @ tensors[f"{at}.mlp.dense_h_to_4h.weight"].T, 2, axis=-1)
    hidden = gate / (1 + np.exp(-gate)) * up
    return x + hidden @ tensors[f"{at}.mlp.dense_4h_to_h.weight"].T


def _attention(fused: Array) -> Array:
    num = len(fused)
    cuts = (HEADS * HEAD, (HEADS + GROUPS) * HEAD)
    queries, keys, values = (
        part.reshape(num, -1, HEAD).swapaxes(0, 1) for part in np.split(fused, cuts, axis=-1)
    )
    repeats = HEADS // GROUPS
    keys, values = (np.repeat(part, repeats, axis=0) for part in (_turned(keys), values))
    scores = _turned(queries) @ keys.swapaxes(1, 2) / np.sqrt(HEAD)
    scores = np.where(np.tri(num, dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return (weights @ values).swapaxes(0, 1).reshape(num, HEADS * HEAD)


def _turned(x: Array) -> Array:
    """(heads, T, HEAD) with the rotary embedding over pairs of the first half of each head."""
    size = HEAD // 2
    frequencies = 10000.0 ** (-np.arange(0, size, 2) / size)
    angles = np.arange(x.shape[1])[:, None] * frequencies
    even, odd = x[..., 0:size:2], x[..., 1:size:2]
    turned = np.empty_like(x)
    turned[..., 0:size:2] = even * np.cos(angles) - odd * np.sin(angles)
    turned[..., 1:size:2] = odd * np.cos(angles) + even * np.sin(angles)
    turned[..., size:] = x[..., size:]
    return turned


def _norm(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON) * weight


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
