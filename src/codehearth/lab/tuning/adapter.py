"""A LoRA adapter as PEFT writes it to a GGUF that llama.cpp loads beside a model.

What llama.cpp reads: `adapter.type` lora, `adapter.lora.alpha`, and for each adapted matrix the
tensors `NAME.lora_a` and `NAME.lora_b` in 32 bits; it scales them by alpha / rank. rsLoRA scales by
alpha / sqrt(rank), so its alpha is written as alpha * sqrt(rank). The Llama architecture keeps the
rows of queries and keys as pairs; the rows of their `lora_b` are put in that order, too.

Refused is what that form cannot hold: DoRA, biases, other alphas or ranks for single modules, and
whole modules that were trained beside the adapter.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codehearth.errors import BadWeights, Unsupported
from codehearth.lab import architectures, gguf_bytes
from codehearth.lab.architectures import Architecture
from codehearth.lab.gguf_bytes import Described
from codehearth.models.checkpoint_config import Config, read_config
from codehearth.models.safetensors_header import read_safetensors_header

_NAME = re.compile(r"base_model\.model\.(.+)\.lora_([AB])(?:\.default)?\.weight")
_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"

Array = np.ndarray[Any, np.dtype[Any]]


def write_gguf_adapter(adapter: Path, base: Path, target: Path, *, name: str) -> None:
    """Writes the adapter in folder `adapter`, trained on the checkpoint in folder `base`.

    Raises Unsupported for what the form cannot hold, BadWeights for files that are not sound.
    """
    config = read_config(base)
    architecture = architectures.architecture_of(config)
    facts = _read_facts(adapter)
    require_plain(facts)
    alpha = gguf_alpha(facts)
    tensors = {
        gguf_name(architecture, stored): _ordered(architecture, config, stored, numbers)
        for stored, numbers in _tensors(adapter / _WEIGHTS)
    }
    header = gguf_bytes.header(
        (
            gguf_bytes.text("general.type", "adapter"),
            gguf_bytes.text("general.architecture", architecture.name),
            gguf_bytes.text("general.name", name),
            gguf_bytes.text("adapter.type", "lora"),
            gguf_bytes.number("adapter.lora.alpha", alpha),
        ),
        _described(tensors),
    )
    unfinished = target.with_name(f"{target.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(header)
        for numbers in tensors.values():
            content = numbers.astype("<f4").tobytes()
            file.write(content + bytes(-len(content) % gguf_bytes.ALIGNMENT))
    unfinished.replace(target)


def require_plain(facts: Mapping[str, Any]) -> None:
    """Raises Unsupported for an adapter that is more than two matrices beside each weight."""
    reasons = {
        "it is no LoRA": str(facts.get("peft_type", "LORA")).upper() != "LORA",
        "it is a DoRA, whose weights have a length of their own": facts.get("use_dora"),
        "whole modules were trained beside it": facts.get("modules_to_save"),
        "it has biases": facts.get("bias", "none") != "none",
        "single modules have ranks of their own": facts.get("rank_pattern"),
        "single modules have alphas of their own": facts.get("alpha_pattern"),
        "it trains single tokens": facts.get("trainable_token_indices"),
    }
    for reason, holds in reasons.items():
        if holds:
            raise Unsupported(
                f"The adapter cannot be written for llama.cpp: {reason}.",
                hint="serve the merged model instead",
            )


def gguf_alpha(facts: Mapping[str, Any]) -> float:
    """The alpha that makes llama.cpp's alpha / rank the scale of the training."""
    alpha, rank = facts.get("lora_alpha"), facts.get("r")
    if not isinstance(alpha, int | float) or not isinstance(rank, int) or rank < 1:
        raise BadWeights("The adapter's configuration names no alpha and rank.")
    return float(alpha) * (math.sqrt(rank) if facts.get("use_rslora") else 1.0)


def gguf_name(architecture: Architecture, stored: str) -> str:
    """llama.cpp's name of one of PEFT's tensors; raises BadWeights and Unsupported."""
    found = _NAME.fullmatch(stored)
    if found is None:
        raise BadWeights(f"The adapter holds '{stored[:100]}', which is no LoRA matrix.")
    name = architectures.tensor_name(architecture, f"{found[1]}.weight")
    assert name is not None
    return f"{name}.lora_{found[2].lower()}"


def paired_rows(numbers: Array, num_heads: int) -> Array:
    """Rows of each head as pairs of the rotary embedding, where they were halves."""
    halves = numbers.reshape(num_heads, 2, numbers.shape[0] // num_heads // 2, *numbers.shape[1:])
    return halves.swapaxes(1, 2).reshape(numbers.shape)


def _ordered(architecture: Architecture, config: Config, stored: str, numbers: Array) -> Array:
    found = re.search(r"\.self_attn\.([qk])_proj\.lora_B", stored)
    if found is None or not architecture.has_pairs:
        return numbers
    is_query = found[1] == "q"
    heads = architectures.num_heads(config) if is_query else architectures.num_kv_heads(config)
    if numbers.shape[0] % (2 * heads):
        raise BadWeights(f"'{stored[:100]}' has {numbers.shape[0]} rows for {heads} heads.")
    return paired_rows(numbers, heads)


def _described(tensors: Mapping[str, Array]) -> list[Described]:
    described, position = [], 0
    for name, numbers in tensors.items():
        shape = tuple(reversed(numbers.shape))
        described.append(Described(name, shape, "F32", position))
        position = gguf_bytes.aligned(position + 4 * numbers.size)
    return described


def _tensors(path: Path) -> list[tuple[str, Array]]:
    """The adapter's matrices in 32 bits, in the order of their names."""
    read = {"F32": _float32, "F16": _float16, "BF16": _bfloat16}
    found = []
    header = read_safetensors_header(path)
    with path.open("rb") as file:
        num_header_bytes = int.from_bytes(file.read(8), "little")
        places = json.loads(file.read(num_header_bytes))
        for tensor in header:
            if tensor.dtype not in read or len(tensor.shape) != 2:
                raise BadWeights(f"The adapter's '{tensor.name[:100]}' is no matrix of numbers.")
            file.seek(8 + num_header_bytes + int(places[tensor.name]["data_offsets"][0]))
            numbers = read[tensor.dtype](file.read(tensor.num_bytes))
            found.append((tensor.name, numbers.reshape(tensor.shape)))
    return sorted(found, key=lambda one: one[0])


def _float32(content: bytes) -> Array:
    return np.frombuffer(content, "<f4")


def _float16(content: bytes) -> Array:
    return np.frombuffer(content, "<f2").astype(np.float32)


def _bfloat16(content: bytes) -> Array:
    return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)


def _read_facts(adapter: Path) -> Mapping[str, Any]:
    try:
        facts = json.loads((adapter / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadWeights("The adapter's configuration cannot be read.") from error
    if not isinstance(facts, dict):
        raise BadWeights("The adapter's configuration is no JSON object.")
    return facts
