"""From a Hugging Face checkpoint's headers and config to a model's facts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from codehearth.errors import BadWeights
from codehearth.models.checkpoint import packed_bits
from codehearth.models.checkpoint_config import (
    MAX_LAYERS,
    Config,
    chat_template,
    read_config,
    read_object,
    token_ids,
)
from codehearth.models.facts import FIM_MARKS, Weights
from codehearth.models.safetensors_header import (
    MAX_HEADER_BYTES,
    SafeTensor,
    read_safetensors_header,
)

MAX_FILES = 2048
# tokenizer.json is only searched for the texts of fill-in-the-middle tokens, never parsed.
MAX_TOKENIZER_BYTES = 64 << 20

_INDEX = "model.safetensors.index.json"
_FILE_NAME = re.compile(r"^[A-Za-z0-9._-]{1,200}\.safetensors$")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d{1,4})\.")
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight")
_OUTPUTS = ("lm_head.weight", "output_layer.weight", "embed_out.weight")
_NAMES = {"F8_E4M3": "FP8", "F8_E5M2": "FP8"}
# Packed beside the weights themselves by GPTQ, AWQ and their kin; no parameters of the model.
_SCALES = (
    *("scales", "qzeros", "g_idx", "weight_scale", "weight_scale_inv"),
    *("SCB", "weight_format", "absmax", "quant_map", "nested_absmax", "nested_quant_map"),
    *("bitsandbytes__nf4", "bitsandbytes__fp4"),
)


def read_safetensors_weights(folder: Path, *, only: str | None = None) -> Weights:
    """The facts of the checkpoint in `folder`; raises BadWeights.

    `only` names one file to take where there is no index.
    """
    config = read_config(folder)
    tensors = tuple(
        tensor
        for name in _file_names(folder, only)
        for tensor in read_safetensors_header(folder / name)
    )
    if not tensors:
        raise BadWeights(f"'{folder.name}' holds no weights.")
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise BadWeights(f"'{folder.name}' holds a tensor in two files.")
    return _weights(folder, config, tensors)


def _file_names(folder: Path, only: str | None) -> tuple[str, ...]:
    """The files that belong to the checkpoint, none of them outside of `folder`."""
    if (folder / _INDEX).is_file():
        index = read_object(folder / _INDEX, MAX_HEADER_BYTES).get("weight_map")
        if not isinstance(index, dict) or not index:
            raise BadWeights(f"'{_INDEX}' names no files.", hint="download the checkpoint again")
        names = sorted({str(name) for name in index.values()})
    elif only is not None:
        names = [only]
    elif (folder / "model.safetensors").is_file():
        names = ["model.safetensors"]
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if len(names) > MAX_FILES:
        raise BadWeights(f"'{folder.name}' names {len(names)} files of weights.")
    for name in names:
        if not _FILE_NAME.match(name):
            raise BadWeights(f"'{_INDEX}' names a file '{name[:80]}' that cannot belong to it.")
        if not (folder / name).is_file():
            raise BadWeights(f"'{name}' is missing.", hint="finish the download: `hearth pull`")
    return tuple(names)


def _weights(folder: Path, config: Config, tensors: Sequence[SafeTensor]) -> Weights:
    num_layers = config.count("num_hidden_layers", "n_layer", "num_layers", maximum=MAX_LAYERS)
    embedding_size = config.count("hidden_size", "n_embd", "d_model")
    num_heads = config.count("num_attention_heads", "n_head", "attention_heads")
    context = config.count(
        "max_position_embeddings", "n_positions", "n_ctx", "seq_length", maximum=1 << 32
    )
    if not num_layers or not num_heads or not context:
        raise config.bad(
            f"has {num_layers} layers, {num_heads} heads, a context of {context} tokens"
        )
    kv_heads = _kv_heads(config, num_heads)
    head_size = config.count("head_dim", "kv_channels", default=embedding_size // num_heads)
    vocabulary_size = config.count("vocab_size", "padded_vocab_size", maximum=1 << 32)
    by_type: Counter[str] = Counter()
    for tensor in tensors:
        by_type[_NAMES.get(tensor.dtype, tensor.dtype)] += tensor.num_bytes
    bits = packed_bits(config.section("quantization_config"))
    pooling = _pooling(folder)
    return Weights(
        kind="safetensors",
        architecture=config.text("model_type") or "unknown",
        name=config.text("_name_or_path") or folder.name,
        num_parameters=sum(_parameters(tensor, bits) for tensor in tensors),
        num_bytes=sum(tensor.num_bytes for tensor in tensors),
        precision=_precision(config, bits, by_type),
        num_layers=num_layers,
        embedding_size=embedding_size,
        num_heads=num_heads,
        num_kv_heads=kv_heads,
        key_size=head_size,
        value_size=head_size,
        feed_forward_size=_feed_forward_size(config, embedding_size),
        vocabulary_size=vocabulary_size,
        context_tokens=context,
        experts=config.count("num_experts", "n_routed_experts", "num_local_experts", default=0),
        experts_used=config.count("num_experts_per_tok", default=0),
        bytes_by_layer=_bytes_by_layer(tensors, num_layers),
        kv_elements_by_layer=(2 * kv_heads * head_size,) * num_layers,
        sliding_layers=(False,) * num_layers,
        embedding_bytes=_bytes_of(tensors, _EMBEDDINGS),
        output_bytes=_bytes_of(tensors, _OUTPUTS),
        bytes_by_type=dict(by_type),
        pooling=pooling,
        is_embedding_model=pooling is not None,
        chat_template=chat_template(folder),
        token_ids=token_ids(folder, config, vocabulary_size),
        fim_marks=_fim_marks(folder),
    )


def _kv_heads(config: Config, num_heads: int) -> int:
    if config.values.get("multi_query") is True:  # StarCoder's first generation
        return 1
    return config.count("num_key_value_heads", "multi_query_group_num", default=num_heads)


def _feed_forward_size(config: Config, embedding_size: int) -> int:
    dense = config.count(
        "intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim", default=4 * embedding_size
    )
    used = config.count("num_experts_per_tok", default=0, maximum=4096)
    return max(dense, used * config.count("moe_intermediate_size", default=0))


def _precision(config: Config, bits: int, by_type: Counter[str]) -> str:
    if bits:
        method = config.section("quantization_config").get("quant_method")
        suffix = f" ({method[:20].upper()})" if isinstance(method, str) else ""
        return f"INT{bits}{suffix}"
    return by_type.most_common(1)[0][0]


def _parameters(tensor: SafeTensor, bits: int) -> int:
    last = tensor.name.rpartition(".")[2]
    if last in _SCALES:
        return 0
    if bits and (last in ("qweight", "weight_packed") or tensor.dtype == "U8"):
        return tensor.num_bytes * 8 // bits
    return tensor.num_elements


def _bytes_by_layer(tensors: Iterable[SafeTensor], num_layers: int) -> tuple[int, ...]:
    by_layer = [0] * num_layers
    for tensor in tensors:
        match = _LAYER.search(tensor.name)
        if match and int(match[1]) < num_layers:
            by_layer[int(match[1])] += tensor.num_bytes
    return tuple(by_layer)


def _bytes_of(tensors: Iterable[SafeTensor], endings: Iterable[str]) -> int:
    return next((tensor.num_bytes for tensor in tensors if tensor.name.endswith(tuple(endings))), 0)


def _pooling(folder: Path) -> str | None:
    """How a sentence-transformers checkpoint pools; None for every other checkpoint."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return None
    modes: Mapping[str, object] = read_object(path, 1 << 16)
    for name, key in (("cls", "cls_token"), ("last", "lasttoken"), ("mean", "mean_tokens")):
        if modes.get(f"pooling_mode_{key}") is True:
            return name
    return "mean"


def _fim_marks(folder: Path) -> frozenset[str]:
    path = folder / "tokenizer.json"
    if not path.is_file() or path.stat().st_size > MAX_TOKENIZER_BYTES:
        return frozenset()
    content = path.read_bytes()
    return frozenset(mark for mark in FIM_MARKS if f'"{mark}"'.encode() in content)
