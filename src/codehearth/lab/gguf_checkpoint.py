"""A GGUF as a Hugging Face checkpoint in bf16: the way back of `checkpoint_source`, for Qwen2.

The numbers are those of the file, each rounded to bf16: what quantising lost stays lost. One tensor
is in memory at a time. The tokenizer's files are made by `tokenizer_files`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from codehearth.errors import BadWeights, Unsupported
from codehearth.lab import architectures, tokenizer_files
from codehearth.lab.architectures import ARCHITECTURES
from codehearth.lab.plain_numbers import plain_floats
from codehearth.lab.source import SourceTensor, gguf_source
from codehearth.models.gguf_header import read_gguf_header
from codehearth.models.gguf_metadata import Metadata

_CLASS = "Qwen2ForCausalLM"
_ARCHITECTURE = ARCHITECTURES[_CLASS]
_Q8_0 = np.dtype([("scale", "<f2"), ("numbers", "i1", 32)])

Array = np.ndarray[Any, np.dtype[Any]]


def write_checkpoint(gguf: Path, folder: Path) -> None:
    """Writes the checkpoint of the GGUF file into a folder that is there.

    Raises BadWeights, Unsupported for another architecture, tokenizer or type of tensor, and
    OSError.
    """
    source = gguf_source(gguf)
    metadata = Metadata(read_gguf_header(gguf))
    if metadata.architecture != _ARCHITECTURE.name:
        raise Unsupported(
            f"A checkpoint is made of a GGUF of {_ARCHITECTURE.name} only, not of "
            f"'{metadata.architecture[:40]}'.",
            param="model",
        )
    tensors = {architectures.stored_name(_ARCHITECTURE, t.name): t for t in source.tensors}
    texts = {
        "config.json": _config(metadata, tensors),
        "generation_config.json": _generation_config(metadata),
        **tokenizer_files.files_of(source.facts, metadata),
    }
    for name, content in texts.items():
        text = json.dumps(content, ensure_ascii=False, indent=2)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    with (folder / "model.safetensors").open("wb") as file:
        _write_tensors(file, tensors)


def _config(metadata: Metadata, tensors: Mapping[str, SourceTensor]) -> dict[str, object]:
    if "model.embed_tokens.weight" not in tensors:
        raise metadata.bad("has no token embedding")
    if metadata.value_of("rope.scaling.type") is not None:
        raise Unsupported("The GGUF scales its rotary embedding.", param="model")
    hidden, heads = metadata.of("embedding_length"), metadata.of("attention.head_count")
    if metadata.of("attention.key_length", default=hidden // max(1, heads)) * heads != hidden:
        raise Unsupported("The GGUF's heads are not as wide as the network.", param="model")
    return {
        "architectures": [_CLASS],
        "model_type": "qwen2",
        "vocab_size": tensors["model.embed_tokens.weight"].shape[1],
        "hidden_size": hidden,
        "intermediate_size": metadata.of("feed_forward_length"),
        "num_hidden_layers": metadata.of("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": metadata.of("attention.head_count_kv", default=heads),
        "max_position_embeddings": metadata.of("context_length"),
        "rope_theta": _number(metadata, "rope.freq_base"),
        "rms_norm_eps": _number(metadata, "attention.layer_norm_rms_epsilon"),
        "hidden_act": "silu",
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "use_sliding_window": False,
        "bos_token_id": metadata.count("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.count("tokenizer.ggml.eos_token_id"),
        "torch_dtype": "bfloat16",
    }


def _generation_config(metadata: Metadata) -> dict[str, object]:
    ids = {
        role: metadata.count(f"tokenizer.ggml.{role}_token_id")
        for role in ("bos", "eos", "eot", "padding")
    }
    return {
        "bos_token_id": ids["bos"],
        "pad_token_id": ids["padding"],
        "eos_token_id": list(dict.fromkeys((ids["eos"], ids["eot"]))),
        "do_sample": False,
    }


def _number(metadata: Metadata, key: str) -> float:
    """A number of 32 bits as people write it: 1e-06, not 9.999999974752427e-07."""
    value = metadata.value_of(key)
    if not isinstance(value, float):
        raise metadata.bad(f"says no number for '{key}'")
    return float(str(np.float32(value)))


def _write_tensors(file: IO[bytes], tensors: Mapping[str, SourceTensor]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + 2 * tensor.num_elements
        shape = list(reversed(tensor.shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    file.write(len(content).to_bytes(8, "little") + content)
    for tensor in tensors.values():
        file.write(_bf16(_read(tensor)).tobytes())
    file.flush()
    os.fsync(file.fileno())


def _read(tensor: SourceTensor) -> Array:
    """The numbers of a tensor in 32 bits, as one row."""
    with tensor.path.open("rb") as file:
        file.seek(tensor.offset)
        raw = file.read(tensor.num_bytes)
    if len(raw) != tensor.num_bytes:
        raise BadWeights(f"'{tensor.path.name}' ends in '{tensor.name}'.")
    values = _floats(tensor, raw)
    if not np.isfinite(values).all():
        raise BadWeights(f"The tensor '{tensor.name}' holds numbers that are none.")
    return values


def _floats(tensor: SourceTensor, raw: bytes) -> Array:
    plain = plain_floats(tensor.type_name, raw)
    if plain is not None:
        return plain
    if tensor.type_name == "Q8_0":
        blocks = np.frombuffer(raw, _Q8_0)
        return (blocks["numbers"] * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
    raise Unsupported(
        f"'{tensor.name}' is stored as {tensor.type_name}; a checkpoint is made of whole weights "
        "and Q8_0.",
        param="model",
    )


def _bf16(values: Array) -> Array:
    """The upper halves of numbers of 32 bits, rounded to the nearest, ties to the even one."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
