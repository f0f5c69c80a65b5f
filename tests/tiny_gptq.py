"""A tiny Llama packed by GPTQ, and the same numbers unpacked, to hold one against the other.

The packing is AutoGPTQ's first format: eight 4-bit numbers in an int32, the lowest first, along the
input in `qweight` and along the output in `qzeros`, which hold the zero minus one; a scale for each
group of inputs and each output.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tiny_checkpoints import tiny_checkpoint, write_safetensors

GROUP = 32
_HOW: dict[str, Any] = {"bits": 4, "group_size": GROUP, "desc_act": False, "sym": True}

Array = np.ndarray[Any, np.dtype[Any]]


def tiny_gptq(folder: Path, *, is_autogptqs: bool = False) -> tuple[Path, Path]:
    """The packed checkpoint and the plain one of the same numbers, below `folder`.

    `is_autogptqs`: laid out as CodeFuse's 4-bit checkpoints are.
    """
    plain = tiny_checkpoint(folder / "plain", "llama", dtype="float16")
    packed = tiny_checkpoint(folder / "packed", "llama", dtype="float16")
    tensors = _read(plain / "model.safetensors")
    unpacked, stored = {}, {}
    for name, tensor in tensors.items():
        if "_proj.weight" in name:
            parts, unpacked[name] = _packed(tensor)
            stored |= {f"{name.removesuffix('weight')}{part}": x for part, x in parts.items()}
        else:
            unpacked[name] = stored[name] = tensor
    write_safetensors(plain / "model.safetensors", unpacked, dtype="float16")
    (packed / "model.safetensors").unlink()
    name = "gptq_model-4bit-32g.safetensors" if is_autogptqs else "model.safetensors"
    _write(packed / name, stored)
    if is_autogptqs:
        (packed / "quantize_config.json").write_text(json.dumps(_HOW))
    else:
        config = json.loads((packed / "config.json").read_text())
        config["quantization_config"] = {"quant_method": "gptq", **_HOW}
        (packed / "config.json").write_text(json.dumps(config))
    return packed, plain


def _packed(weight: Array) -> tuple[dict[str, Array], Array]:
    """The four tensors of one (out, in) matrix, and what it is after packing."""
    groups = weight.T.reshape(-1, GROUP, weight.shape[0]).astype(np.float32)  # (groups, G, out)
    scales = (np.abs(groups).max(axis=1) / 7).astype(np.float16)
    numbers = np.clip(np.round(groups / scales[:, None]) + 8, 0, 15)
    unpacked = ((numbers - 8) * scales[:, None].astype(np.float32)).reshape(weight.T.shape).T
    rows = numbers.reshape(weight.T.shape).astype(np.uint32)  # (in, out)
    zeros = np.full(scales.shape, 8 - 1, dtype=np.uint32)
    return {
        "qweight": _eight_in_one(rows),
        "qzeros": _eight_in_one(zeros.T).T.copy(),
        "scales": scales,
        "g_idx": (np.arange(weight.shape[1]) // GROUP).astype(np.int32),
    }, np.ascontiguousarray(unpacked).astype(np.float32)


def _eight_in_one(rows: Array) -> Array:
    """(n, m) of small numbers to (n / 8, m) of int32."""
    found = np.zeros((rows.shape[0] // 8, rows.shape[1]), dtype=np.uint32)
    for place in range(8):
        found |= rows[place::8] << np.uint32(4 * place)
    return found.view(np.int32)


def _read(path: Path) -> dict[str, Array]:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        raw = content[8 + length + start : 8 + length + end]
        found[name] = np.frombuffer(raw, np.float16).reshape(entry["shape"]).astype(np.float32)
    return found


def _write(path: Path, tensors: Mapping[str, Array]) -> None:
    """Safetensors of several types."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts, offset = [], 0
    for name, tensor in tensors.items():
        stored = tensor if tensor.dtype in (np.int32, np.float16) else tensor.astype(np.float16)
        raw = np.ascontiguousarray(stored).tobytes()
        header[name] = {
            "dtype": "I32" if stored.dtype == np.int32 else "F16",
            "shape": list(stored.shape),
            "data_offsets": [offset, offset + len(raw)],
        }
        parts.append(raw)
        offset += len(raw)
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + b"".join(parts))
