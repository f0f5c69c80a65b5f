"""From GGUF headers to a model's facts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from codehearth.errors import BadWeights
from codehearth.models.facts import FIM_MARKS, TEXT_PREFIX, Weights
from codehearth.models.gguf_header import GgufHeader, GgufTensor, TokenMark, read_gguf_header
from codehearth.models.gguf_layers import kv_elements, sliding_layers, state_bytes
from codehearth.models.gguf_metadata import MAX_LAYERS, Metadata
from codehearth.models.gguf_types import FILE_TYPES
from codehearth.text.fim_formats import KNOWN_TO_LLAMA_CPP

MAX_PARTS = 1024
MAX_EXPERTS = 4096

_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")
_LAYER = re.compile(r"^blk\.(\d{1,4})\.")
_POOLINGS = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
_TOKENS = {
    "bos": ("bos",),
    "eos": ("eos",),
    "eot": ("eot",),
    "eom": ("eom",),
    "unk": ("unknown",),
    "sep": ("seperator", "separator"),  # the first is how the format spells it
    "pad": ("padding",),
    "mask": ("mask",),
    "fim_pre": ("fim_pre", "prefix"),
    "fim_suf": ("fim_suf", "suffix"),
    "fim_mid": ("fim_mid", "middle"),
    "fim_pad": ("fim_pad",),
    "fim_rep": ("fim_rep",),
    "fim_sep": ("fim_sep",),
}
_CONTROL, _USER_DEFINED = 3, 4
_NOT_MODELS = {"adapter": "a LoRA adapter", "mmproj": "an image projector", "imatrix": "statistics"}


def read_gguf_weights(path: Path) -> Weights:
    """The facts of the GGUF model at `path`, with all its parts; raises BadWeights."""
    parts = split_parts(path)
    for part in parts:
        if not part.is_file():
            raise BadWeights(
                f"'{part.name}' is missing.", hint="finish the download: `hearth pull`"
            )
    first = read_gguf_header(parts[0], marks=FIM_MARKS)
    headers = (first, *(read_gguf_header(part) for part in parts[1:]))
    _check_split(headers)
    return _weights(Metadata(first), tuple(t for header in headers for t in header.tensors))


def split_parts(path: Path) -> tuple[Path, ...]:
    """All files of the model that `path` is a part of, in order; only itself where it is whole."""
    match = _PART.match(path.name)
    if match is None:
        return (path,)
    count = int(match["count"])
    if not 0 < int(match["number"]) <= count <= MAX_PARTS:
        return (path,)
    return tuple(
        path.with_name(f"{match['stem']}-{number:05}-of-{count:05}.gguf")
        for number in range(1, count + 1)
    )


def _check_split(headers: Sequence[GgufHeader]) -> None:
    for number, header in enumerate(headers):
        metadata = Metadata(header)
        count = metadata.count("split.count", default=1, maximum=MAX_PARTS) or 1
        if count != len(headers) or metadata.count("split.no", default=0) != number:
            raise metadata.bad(
                f"says that it is part {metadata.count('split.no', default=0) + 1} of {count}, "
                f"its name says part {number + 1} of {len(headers)}",
                "give the files the names they were published under",
            )
    names = Counter(tensor.name for header in headers for tensor in header.tensors)
    total = Metadata(headers[0]).count("split.tensors.count", default=names.total())
    if total != names.total() or len(names) != names.total():
        raise BadWeights(
            f"'{headers[0].file_name}' has {names.total()} tensors in all its parts, "
            f"{total} were announced."
        )


def _weights(metadata: Metadata, tensors: tuple[GgufTensor, ...]) -> Weights:
    architecture = _architecture(metadata)
    if not tensors:
        raise metadata.bad("holds a vocabulary and no weights", "take the model's own file")
    num_layers = metadata.of("block_count", maximum=MAX_LAYERS)
    context_tokens = metadata.of("context_length", maximum=1 << 32)
    if not num_layers or not context_tokens:
        raise metadata.bad(f"has {num_layers} layers and a context of {context_tokens} tokens")
    heads = metadata.by_layer("attention.head_count", num_layers, default=0)
    kv_heads = heads
    if metadata.value_of("attention.head_count_kv") is not None:
        kv_heads = metadata.by_layer("attention.head_count_kv", num_layers, default=0)
    embedding_size = metadata.of("embedding_length")
    head_size = embedding_size // max(heads) if max(heads) else 0
    vocabulary_size = _vocabulary_size(metadata, tensors)
    pooling = _pooling(metadata)
    sizes = {tensor.name: tensor.num_bytes for tensor in tensors}
    by_type: Counter[str] = Counter()
    for tensor in tensors:
        by_type[tensor.type_name] += tensor.num_bytes
    return Weights(
        kind="gguf",
        architecture=architecture,
        name=metadata.text("general.name"),
        num_parameters=sum(tensor.num_elements for tensor in tensors),
        num_bytes=sum(sizes.values()),
        precision=_precision(metadata, by_type),
        num_layers=num_layers,
        embedding_size=embedding_size,
        num_heads=max(heads),
        num_kv_heads=max(kv_heads),
        key_size=metadata.of("attention.key_length", default=head_size),
        value_size=metadata.of("attention.value_length", default=head_size),
        feed_forward_size=_feed_forward_size(metadata),
        vocabulary_size=vocabulary_size,
        num_merges=metadata.header.lengths.get("tokenizer.ggml.merges", 0),
        context_tokens=context_tokens,
        experts=metadata.of("expert_count", default=0, maximum=MAX_EXPERTS),
        experts_used=metadata.of("expert_used_count", default=0, maximum=MAX_EXPERTS),
        bytes_by_layer=_bytes_by_layer(tensors, num_layers),
        kv_elements_by_layer=kv_elements(metadata, num_layers, kv_heads, head_size=head_size),
        sliding_layers=sliding_layers(metadata, num_layers),
        sliding_window=metadata.of("attention.sliding_window", default=0) or None,
        state_bytes=state_bytes(metadata, num_layers, kv_heads),
        embedding_bytes=sizes.get("token_embd.weight", 0),
        embedding_type=next((t.type_name for t in tensors if t.name == "token_embd.weight"), ""),
        output_bytes=sizes.get("output.weight", 0),
        bytes_by_type=dict(by_type),
        pooling=pooling,
        is_embedding_model=pooling in ("mean", "cls", "last"),
        chat_template=_chat_template(metadata),
        token_ids=_token_ids(metadata, vocabulary_size),
        add_bos=metadata.flag("tokenizer.ggml.add_bos_token"),
        fim_marks=frozenset(
            text for text, mark in metadata.header.marks.items() if _is_found_in_text(text, mark)
        ),
        fim_ids={text: mark.id for text, mark in metadata.header.marks.items()},
        licence=metadata.text("general.license"),
        text_prefix=(metadata.text(TEXT_PREFIX) or "")[:64],
    )


def _is_found_in_text(text: str, mark: TokenMark) -> bool:
    """Whether llama.cpp takes the text for the token: it looks for control and user-defined ones,
    and takes the infilling marks that it knows for control tokens whatever the file says."""
    return mark.type in (None, _CONTROL, _USER_DEFINED) or text in KNOWN_TO_LLAMA_CPP


def _architecture(metadata: Metadata) -> str:
    kind = metadata.text("general.type") or "model"
    architecture = metadata.text("general.architecture")
    if kind in _NOT_MODELS or architecture == "clip":
        what = _NOT_MODELS.get(kind, "an image projector")
        raise metadata.bad(f"is {what}, not a model", "name the model's own file")
    if not architecture or len(architecture) > 64:
        raise metadata.bad("does not name its architecture")
    return architecture


def _feed_forward_size(metadata: Metadata) -> int:
    """The widest layer's, where experts work side by side those that a token uses together."""
    used = metadata.of("expert_used_count", default=0, maximum=MAX_EXPERTS)
    experts = used * metadata.of("expert_feed_forward_length", default=0)
    return max(metadata.of("feed_forward_length", default=0), experts)


def _vocabulary_size(metadata: Metadata, tensors: Sequence[GgufTensor]) -> int:
    tokens = metadata.header.lengths.get("tokenizer.ggml.tokens", 0)
    if tokens:
        return tokens
    embedding = next((t for t in tensors if t.name == "token_embd.weight"), None)
    rows = embedding.shape[1] if embedding and len(embedding.shape) > 1 else 0
    return metadata.of("vocab_size", default=rows, maximum=1 << 32)


def _precision(metadata: Metadata, by_type: Counter[str]) -> str:
    file_type = metadata.count("general.file_type", default=-1)
    if file_type in FILE_TYPES:
        return FILE_TYPES[file_type]
    return by_type.most_common(1)[0][0]


def _pooling(metadata: Metadata) -> str | None:
    number = metadata.of("pooling_type", default=-1)
    if number in _POOLINGS:
        return _POOLINGS[number]
    # An encoder without the key: llama.cpp serves its token vectors, people mean their mean.
    return "mean" if metadata.flag_of("attention.causal") is False else None


def _chat_template(metadata: Metadata) -> str | None:
    key = "tokenizer.chat_template"
    if key in metadata.header.lengths:
        raise metadata.bad(f"holds a chat template of {metadata.header.lengths[key]} bytes")
    return metadata.text(key)


def _token_ids(metadata: Metadata, vocabulary_size: int) -> dict[str, int]:
    ids: dict[str, int] = {}
    for name, spellings in _TOKENS.items():
        for spelling in spellings:
            number = metadata.count(f"tokenizer.ggml.{spelling}_token_id", default=-1)
            # The engine passes over ids that are not in the vocabulary, and so do we.
            if 0 <= number < vocabulary_size:
                ids.setdefault(name, number)
    return ids


def _bytes_by_layer(tensors: Sequence[GgufTensor], num_layers: int) -> tuple[int, ...]:
    by_layer = [0] * num_layers
    for tensor in tensors:
        match = _LAYER.match(tensor.name)
        if match and int(match[1]) < num_layers:
            by_layer[int(match[1])] += tensor.num_bytes
    return tuple(by_layer)
