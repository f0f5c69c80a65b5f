"""A Hugging Face checkpoint as something to quantise: its tensors under llama.cpp's names."""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from codehearth.errors import BadWeights
from codehearth.lab import architectures, gguf_bytes, vocabularies
from codehearth.lab.architectures import Architecture
from codehearth.lab.gguf_bytes import Fact
from codehearth.lab.mixture import Model
from codehearth.lab.source import SourceModel, SourceTensor
from codehearth.models import checkpoint
from codehearth.models.checkpoint_config import Config, read_bounded, read_config, token_ids
from codehearth.models.facts import TEXT_PREFIX
from codehearth.models.safetensors_header import read_safetensors_header
from codehearth.models.weights import read_weights

_DTYPES = ("F32", "F16", "BF16", "F64")
_MAX_CARD_BYTES = 1 << 20


def checkpoint_source(
    folder: Path, *, name: str, repo: str | None = None, licence: str | None = None
) -> SourceModel:
    """The checkpoint in `folder`; raises BadWeights and Unsupported.

    `repo` and `licence` are kept in the file where they are known; a model card in the folder says
    the licence too.
    """
    config = read_config(folder)
    architecture = architectures.architecture_of(config)
    read_weights(folder)  # its checks
    files = tuple(
        folder / file for file in checkpoint.weight_files(p.name for p in folder.iterdir())
    )
    tensors = tuple(_ordered(_tensors(files, architecture, config)))
    rows = next((t.shape[1] for t in tensors if t.name == "token_embd.weight"), 0)
    if not rows:
        raise BadWeights("The checkpoint has no token embedding.")
    vocabulary = vocabularies.read_vocabulary(folder)
    if architecture.control_tokens:
        vocabulary = vocabulary.with_controls(architecture.control_tokens)
    if len(vocabulary.tokens) > rows:
        raise BadWeights(
            f"The tokenizer has {len(vocabulary.tokens)} tokens, the embedding {rows} rows."
        )
    ids = token_ids(folder, config, rows)
    licence = _licence_of_card(folder) or licence
    facts = (
        *_general(architecture, name, repo, licence),
        *architectures.facts(architecture, config, vocabulary_size=rows),
        *vocabularies.facts(folder, vocabulary.filled_up(rows), ids),
        *_prefix(architecture),
    )
    return SourceModel(facts, tensors, _model(architecture, config), files)


def _general(
    architecture: Architecture, name: str, repo: str | None, licence: str | None
) -> Iterator[Fact]:
    yield gguf_bytes.text("general.architecture", architecture.name)
    yield gguf_bytes.text("general.type", "model")
    yield gguf_bytes.text("general.name", name.rpartition("/")[2] or name)
    if licence:
        yield gguf_bytes.text("general.license", licence)
    if repo:
        yield gguf_bytes.text("general.source.huggingface.repository", repo)


def _prefix(architecture: Architecture) -> Iterator[Fact]:
    """What must stand before every text, for whoever asks the engine: llama.cpp sets one token at
    most, and no file says more."""
    if architecture.text_prefix:
        yield gguf_bytes.text(TEXT_PREFIX, architecture.text_prefix)


def _model(architecture: Architecture, config: Config) -> Model:
    return Model(
        architecture=architecture.name,
        num_layers=architectures.num_layers(config),
        num_heads=architectures.num_heads(config),
        num_kv_heads=architectures.num_kv_heads(config),
    )


def _tensors(
    files: tuple[Path, ...], architecture: Architecture, config: Config
) -> Iterator[SourceTensor]:
    is_tied = config.values.get("tie_word_embeddings") is True
    for path in files:
        starts = _starts(path)
        for tensor in read_safetensors_header(path):
            name = architectures.tensor_name(architecture, tensor.name)
            if name is None or (is_tied and name == "output.weight"):
                continue
            if tensor.dtype not in _DTYPES:
                raise BadWeights(
                    f"'{tensor.name}' is stored as {tensor.dtype}, which cannot be converted.",
                    hint="take the checkpoint in bf16 or fp16",
                )
            yield SourceTensor(
                name=name,
                shape=tuple(reversed(tensor.shape)),
                type_name=tensor.dtype,
                path=path,
                offset=starts[tensor.name],
                num_bytes=tensor.num_bytes,
                num_heads=_heads(architecture, config, name, tensor.shape),
                kept_as="F32",
            )
    factors = architectures.rope_factors(config)
    if factors:
        content = struct.pack(f"<{len(factors)}f", *factors)
        yield SourceTensor(
            "rope_freqs.weight", (len(factors),), "F32", files[0], 0, len(content), inline=content
        )


def _heads(architecture: Architecture, config: Config, name: str, shape: tuple[int, ...]) -> int:
    """Into how many heads the rows of a tensor must be cut to be interleaved; 0 for not at all."""
    found = re.search(r"\.attn_([qk])\.", name)
    if found is None or not architecture.has_pairs:
        return 0
    count = (
        architectures.num_heads(config) if found[1] == "q" else architectures.num_kv_heads(config)
    )
    if not shape or shape[0] % (2 * count):
        raise config.bad(f"says {count} heads, but '{name}' has {shape[0] if shape else 0} rows")
    return count


def _ordered(tensors: Iterator[SourceTensor]) -> list[SourceTensor]:
    """The embedding, the layers in turn, the end; as a file is read when it is loaded."""

    def place(tensor: SourceTensor) -> tuple[int, int]:
        found = re.match(r"blk\.(\d+)\.", tensor.name)
        if found:
            return 1, int(found[1])
        return (0, 0) if tensor.name.startswith(("token_embd", "rope_freqs")) else (2, 0)

    found = sorted(tensors, key=place)
    counted = Counter(tensor.name for tensor in found)
    for name, times in counted.items():
        if times > 1:
            raise BadWeights(f"The checkpoint holds '{name}' twice.")
    return found


def _starts(path: Path) -> dict[str, int]:
    """Where each tensor begins in a file whose header was checked."""
    with path.open("rb") as file:
        num_header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(num_header_bytes))
    header.pop("__metadata__", None)
    base = 8 + num_header_bytes
    return {name: base + int(entry["data_offsets"][0]) for name, entry in header.items()}


def _licence_of_card(folder: Path) -> str | None:
    """What the model card's head says, as Hugging Face has it: `license: apache-2.0`."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    text = read_bounded(card, _MAX_CARD_BYTES).decode("utf-8", "replace")
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license:\s*([\w.+-]{1,64})\s*$", head[1], re.MULTILINE) if head else None
    return found[1] if found else None
