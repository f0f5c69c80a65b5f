"""Checkpoints of safetensors: which files belong to one, what its JSON says, what it may not hold.

Only two kinds of files are taken: tensors without code, and the texts that describe them. Python
files, pickles and whatever else a repository holds stay on the hub. A checkpoint that needs its
own code to be loaded is refused, unless that code was allowed for this very revision.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from codehearth.errors import BadWeights
from codehearth.models.names import is_safe_file_path

MAX_JSON_BYTES = 64 << 20

# What describes a checkpoint: configuration, tokenizer, chat template.
_TEXT_SUFFIXES = (".json", ".jinja", ".model", ".tiktoken")
_TEXT_NAMES = ("merges.txt", "vocab.txt")

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")

_PICKLED_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".npz")

_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "float8_e4m3fn": "fp8"}


def weight_files(paths: Iterable[str]) -> tuple[str, ...]:
    """The safetensors of the checkpoint at the top of a repository; empty where there is none.

    A repository may hold the same weights twice: `model-*` for transformers beside
    `consolidated*`, the original. The first are taken. Raises nothing for a missing shard: see
    `missing_shards`.
    """
    found = sorted(
        path for path in paths if "/" not in path and path.lower().endswith(".safetensors")
    )
    if any(path.startswith("model") for path in found):
        found = [path for path in found if path.startswith("model")]
    sharded = [path for path in found if _SHARD.fullmatch(path)]
    if not sharded and "model.safetensors" in found:
        return ("model.safetensors",)  # others are the same in another precision
    return tuple(sharded or found)


def missing_shards(weights: Iterable[str]) -> tuple[str, ...]:
    """Shards that the names of others promise: `model-00002-of-00003.safetensors`."""
    found = set(weights)
    promised = {
        f"{shard[1]}-{number:05d}-of-{shard[3]}.safetensors"
        for shard in map(_SHARD.fullmatch, found)
        if shard is not None
        for number in range(1, min(int(shard[3]), 10_000) + 1)
    }
    return tuple(sorted(promised - found))


def text_files(paths: Iterable[str]) -> tuple[str, ...]:
    """The small files that belong to the checkpoint at the top of a repository."""
    return tuple(
        sorted(
            path
            for path in paths
            if "/" not in path and (path.endswith(_TEXT_SUFFIXES) or path in _TEXT_NAMES)
        )
    )


def code_files(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(path for path in paths if path.lower().endswith((".py", ".pyc", ".so"))))


def pickled_files(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(path for path in paths if path.lower().endswith(_PICKLED_SUFFIXES)))


def files_of(folder: Path, paths: Iterable[str]) -> tuple[str, ...] | None:
    """The files of the checkpoint in a folder; None where there is none or it is not whole."""
    names = tuple(paths)
    weights = weight_files(names)
    if not weights or "config.json" not in names or missing_shards(weights):
        return None
    try:
        indexed = indexed_files(folder, names)
    except BadWeights:
        return None
    if not indexed <= set(names):
        return None
    return tuple(sorted({*weights, *text_files(names)}))


def indexed_files(folder: Path, paths: Iterable[str]) -> frozenset[str]:
    """The files that a folder's `*.index.json` name; raises BadWeights for a name that is none.

    transformers opens what stands there: a name with `..` in it would be a file elsewhere.
    """
    named: set[str] = set()
    for path in paths:
        if "/" in path or not path.endswith(".safetensors.index.json"):
            continue
        weight_map = read_json(folder / path).get("weight_map")
        if not isinstance(weight_map, dict):
            raise BadWeights(f"'{path}' names no files.")
        for name in weight_map.values():
            if not isinstance(name, str) or not is_safe_file_path(name) or "/" in name:
                raise BadWeights(f"'{path}' names a file outside of the model's folder.")
            named.add(name)
    return frozenset(named)


def code_needed(folder: Path, paths: Iterable[str]) -> str | None:
    """Why loading the checkpoint would run code of its own; None where it would not."""
    code = code_files(paths)
    if code:
        return f"it holds {', '.join(code[:3])}"
    for path in text_files(paths):
        is_asked = path.endswith(".json") and not path.endswith("tokenizer.json")
        if is_asked and _has_auto_map(read_json(folder / path)):
            return f"its {path} points to code (auto_map)"
    return None


def is_chatglm(folder: Path) -> bool:
    """Whether it is of ChatGLM2's family (CodeGeeX2), whose own code today's engines cannot run."""
    try:
        return read_json(folder / "config.json").get("model_type") == "chatglm"
    except BadWeights:
        return False


def precision(folder: Path) -> str | None:
    """bf16, fp16, fp32, fp8, int8 or int4, as the configuration says."""
    try:
        config = read_json(folder / "config.json")
    except BadWeights:
        return None
    quantised = config.get("quantization_config")
    if quantised is None and (folder / "quantize_config.json").is_file():
        quantised = read_json(folder / "quantize_config.json")  # AutoGPTQ's layout
    if isinstance(quantised, dict):
        bits = packed_bits(quantised)
        if bits:
            return f"int{bits}"
        if quantised.get("quant_method") == "fp8":
            return "fp8"
        return None
    named = str(config.get("dtype") or config.get("torch_dtype") or "")
    return _DTYPES.get(named.removeprefix("torch."))


def packed_bits(quantisation: Mapping[str, Any]) -> int:
    """Bits of one weight where several are packed into an integer, as a configuration's
    `quantization_config` says; 0 where they are not."""
    for key, bits in (("load_in_4bit", 4), ("load_in_8bit", 8)):  # bitsandbytes
        if quantisation.get(key) is True:
            return bits
    stated = quantisation.get("bits")
    return stated if type(stated) is int and stated in (2, 3, 4, 8) else 0


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object from a file, bounded; raises BadWeights."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise BadWeights(f"'{path.name}' is too large to be what it says.")
        table = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadWeights(f"'{path.name}' is not readable as JSON.") from error
    # Some of them (added_tokens, lists of merges) are no objects; nothing is asked of those.
    return table if isinstance(table, dict) else {}


def _has_auto_map(table: Mapping[str, Any]) -> bool:
    """`auto_map` may stand in a part of the configuration too: `text_config`, for one."""
    return "auto_map" in table or any(
        isinstance(value, dict) and "auto_map" in value for value in table.values()
    )
