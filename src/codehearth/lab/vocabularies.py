"""A checkpoint's tokenizer as GGUF's facts: byte-level BPE from tokenizer.json, SentencePiece from
tokenizer.model.

llama.cpp splits text before it merges, by one of its own patterns; a tokenizer whose pattern it
does not have is refused, because it would cut text otherwise than in training and nobody would
notice. The patterns are known by their text (`PRE_TOKENIZERS`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codehearth.errors import BadWeights, Unsupported
from codehearth.lab import gguf_bytes
from codehearth.lab.gguf_bytes import Fact
from codehearth.models.checkpoint_config import (
    MAX_TOKENIZER_CONFIG_BYTES,
    chat_template,
    read_bounded,
    read_object,
)

MAX_TOKENIZER_BYTES = 64 << 20
MAX_TOKENS = 1 << 20

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Text of the pattern -> llama.cpp's name for it. Qwen2's and Llama 3's differ in the digits only.
PRE_TOKENIZERS = {
    rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|{_WORDS}|\p{{N}}|{_TAIL}": "qwen2",
    rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|{_WORDS}|\p{{N}}{{1,3}}|{_TAIL}": "llama-bpe",
}

_LOOKS_SPECIAL = re.compile(r"<\|.*\|>|<｜.*｜>|<pad>|<mask>|<unused.*>|<fim[-_].*>", re.DOTALL)

# The token that begins, ends and fills a gap, in the spellings of the families.
_FIM = {
    "fim_pre": ("<|fim_prefix|>", "<fim_prefix>", "<fim-prefix>", "<｜fim▁begin｜>", "▁<PRE>"),
    "fim_suf": ("<|fim_suffix|>", "<fim_suffix>", "<fim-suffix>", "<｜fim▁hole｜>", "▁<SUF>"),
    "fim_mid": ("<|fim_middle|>", "<fim_middle>", "<fim-middle>", "<｜fim▁end｜>", "▁<MID>"),
    "fim_pad": ("<|fim_pad|>", "<fim_pad>", "<fim-pad>"),
    "fim_rep": ("<|repo_name|>", "<repo_name>", "<reponame>"),
    "fim_sep": ("<|file_sep|>", "<file_sep>"),
}


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by their number. `scores` are SentencePiece's, `merges` byte-level BPE's."""

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    add_bos: bool | None = None
    add_space_prefix: bool | None = None

    def filled_up(self, size: int) -> Vocabulary:
        """With a token for each row of the embedding: some models have more rows than tokens."""
        missing = range(len(self.tokens), size)
        return replace(
            self,
            tokens=(*self.tokens, *(f"[PAD{number}]" for number in missing)),
            types=(*self.types, *(UNUSED for _ in missing)),
            scores=(*self.scores, *(-1000.0 for _ in missing)) if self.scores else (),
        )

    def with_controls(self, names: Sequence[str]) -> Vocabulary:
        """With control tokens behind the last one, where the vocabulary lacks them; then they are
        all that is set before a text, and whoever asks writes them."""
        new = tuple(name for name in names if name not in self.tokens)
        return replace(
            self,
            tokens=(*self.tokens, *new),
            types=(*self.types, *(CONTROL for _ in new)),
            scores=(*self.scores, *(-1000.0 for _ in new)) if self.scores else (),
            add_bos=False,
        )


def read_vocabulary(folder: Path) -> Vocabulary:
    """The tokenizer in a checkpoint's folder; raises BadWeights and Unsupported."""
    settings: Mapping[str, Any] = {}
    if (folder / "tokenizer_config.json").is_file():
        settings = read_object(folder / "tokenizer_config.json", MAX_TOKENIZER_CONFIG_BYTES)
    table: Mapping[str, Any] = {}
    if (folder / "tokenizer.json").is_file():
        table = read_object(folder / "tokenizer.json", MAX_TOKENIZER_BYTES)
    if (folder / "tokenizer.model").is_file():
        found = _sentencepiece(folder / "tokenizer.model", _added(table, settings))
    elif table:
        found = _byte_level(table)
    else:
        raise BadWeights(
            "The checkpoint has neither tokenizer.json nor tokenizer.model.",
            hint="download the whole checkpoint",
        )
    says = settings.get("add_bos_token")
    return replace(found, add_bos=says) if isinstance(says, bool) else found


def facts(folder: Path, vocabulary: Vocabulary, ids: Mapping[str, int]) -> tuple[Fact, ...]:
    """Everything that GGUF keeps of a tokenizer; `ids` are the special tokens by role."""
    key = "tokenizer.ggml."
    found = [
        gguf_bytes.text(f"{key}model", vocabulary.model),
        gguf_bytes.text(f"{key}pre", vocabulary.pre),
        gguf_bytes.texts(f"{key}tokens", vocabulary.tokens),
        gguf_bytes.wholes(f"{key}token_type", vocabulary.types),
    ]
    if vocabulary.merges:
        found.append(gguf_bytes.texts(f"{key}merges", vocabulary.merges))
    if vocabulary.scores:
        found.append(gguf_bytes.numbers(f"{key}scores", vocabulary.scores))
    names = {"bos": "bos", "eos": "eos", "eot": "eot", "pad": "padding", "unk": "unknown"}
    for role, number in ids.items():
        if role in names:
            found.append(gguf_bytes.whole(f"{key}{names[role]}_token_id", number))
    places = {token: number for number, token in enumerate(vocabulary.tokens)}
    for role, spellings in _FIM.items():
        known = next((places[text] for text in spellings if text in places), None)
        if known is not None:
            found.append(gguf_bytes.whole(f"{key}{role}_token_id", known))
    if vocabulary.add_bos is not None:
        found.append(gguf_bytes.flag(f"{key}add_bos_token", vocabulary.add_bos))
    if vocabulary.add_space_prefix is not None:
        found.append(gguf_bytes.flag(f"{key}add_space_prefix", vocabulary.add_space_prefix))
    template = chat_template(folder)
    if template is not None:
        found.append(gguf_bytes.text("tokenizer.chat_template", template))
    return tuple(found)


# --- byte-level BPE -----------------------------------------------------------------------------


def _byte_level(table: Mapping[str, Any]) -> Vocabulary:
    model = table.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise BadWeights("'tokenizer.json' holds no vocabulary.")
    if model.get("type", "BPE") != "BPE" or model.get("byte_fallback"):
        raise Unsupported(
            "The checkpoint's tokenizer is no byte-level BPE, and its tokenizer.model is missing.",
            hint="download tokenizer.model too",
            param="model",
        )
    by_number: dict[int, tuple[str, int]] = {}
    for text, number in model["vocab"].items():
        by_number[_number(number)] = (text, NORMAL)
    for text, number, is_special in _added(table, {}):
        kind = CONTROL if is_special or _LOOKS_SPECIAL.fullmatch(text) else USER_DEFINED
        by_number[_number(number)] = (text, kind)
    tokens, types = _dense(by_number)
    merges = model.get("merges")
    return Vocabulary(
        model="gpt2",
        pre=_pre_tokenizer(table.get("pre_tokenizer")),
        tokens=tokens,
        types=types,
        merges=tuple(map(_merge, merges if isinstance(merges, list) else ())),
        add_bos=_begins_with_special(table.get("post_processor")),
    )


def _merge(pair: object) -> str:
    """Older files join the two halves with a space, newer ones keep them apart."""
    if isinstance(pair, str):
        return pair
    if isinstance(pair, list) and len(pair) == 2 and all(isinstance(half, str) for half in pair):
        return f"{pair[0]} {pair[1]}"
    raise BadWeights("'tokenizer.json' holds a merge that is none.")


def _pre_tokenizer(found: object) -> str:
    """llama.cpp's name of the way in which text is split; raises Unsupported."""
    steps = list(_steps(found))
    kinds = [str(step.get("type")) for step in steps]
    patterns = [_pattern(step) for step in steps if step.get("type") == "Split"]
    for pattern in patterns:
        if pattern in PRE_TOKENIZERS:
            return PRE_TOKENIZERS[pattern]
    if r"\s?\p{L}+" in patterns and any("一-龥" in pattern for pattern in patterns):
        return "deepseek-coder"
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return "starcoder"
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    raise Unsupported(
        "The checkpoint's tokenizer splits text in a way that is not known here "
        f"({', '.join(kinds)[:80] or 'nothing named'}).",
        hint="pull a GGUF that the model's makers published",
        param="model",
    )


def _steps(found: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(found, dict) and found.get("type") == "Sequence":
        parts = found.get("pretokenizers")
        for part in parts if isinstance(parts, list) else ():
            yield from _steps(part)
    elif isinstance(found, dict):
        yield found


def _pattern(step: Mapping[str, Any]) -> str:
    pattern = step.get("pattern")
    text = pattern.get("Regex") if isinstance(pattern, dict) else None
    return text if isinstance(text, str) else ""


def _begins_with_special(found: object) -> bool | None:
    """Whether the template for one text begins with a special token: that is the BOS."""
    if not isinstance(found, dict):
        return None
    if found.get("type") == "Sequence":
        processors = found.get("processors")
        parts = processors if isinstance(processors, list) else ()
        return next((says for says in map(_begins_with_special, parts) if says is not None), None)
    single = found.get("single")
    if found.get("type") != "TemplateProcessing" or not isinstance(single, list) or not single:
        return None
    return isinstance(single[0], dict) and "SpecialToken" in single[0]


# --- SentencePiece ------------------------------------------------------------------------------


def _sentencepiece(path: Path, added: Sequence[tuple[str, int, bool]]) -> Vocabulary:
    """The pieces of a `tokenizer.model`, which is a protocol buffer (sentencepiece_model.proto)."""
    tokens: list[str] = []
    scores: list[float] = []
    types: list[int] = []
    is_bpe, adds_space = True, True
    for number, value in _fields(read_bounded(path, MAX_TOKENIZER_BYTES)):
        if number == 1 and isinstance(value, bytes):  # a piece
            piece = dict(_fields(value))
            tokens.append(_utf8(piece.get(1, b"")))
            scores.append(_score(piece.get(2, b"")))
            types.append(_number(piece.get(3, NORMAL)))
        elif number == 2 and isinstance(value, bytes):  # how it was trained
            is_bpe = dict(_fields(value)).get(3, 1) == 2
        elif number == 3 and isinstance(value, bytes):  # how text is prepared
            adds_space = bool(dict(_fields(value)).get(3, 1))
    if not tokens or len(tokens) > MAX_TOKENS:
        raise BadWeights(f"'{path.name}' holds {len(tokens)} pieces.")
    if not is_bpe:
        raise Unsupported(
            "The checkpoint's SentencePiece tokenizer is no BPE.",
            hint="pull a GGUF that the model's makers published",
            param="model",
        )
    by_number = {
        number: (text, kind) for number, (text, kind) in enumerate(zip(tokens, types, strict=True))
    }
    for text, number, is_special in added:
        if number >= len(tokens):
            kind = CONTROL if is_special or _LOOKS_SPECIAL.fullmatch(text) else USER_DEFINED
            by_number[number] = (text, kind)
    all_tokens, all_types = _dense(by_number)
    all_scores = (*scores, *(-1000.0 for _ in range(len(all_tokens) - len(scores))))
    return Vocabulary(
        model="llama",
        pre="default",
        tokens=all_tokens,
        types=all_types,
        scores=all_scores,
        add_bos=True,
        add_space_prefix=adds_space,
    )


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of one protocol buffer message; raises BadWeights."""
    position = 0
    try:
        while position < len(content):
            tag, position = _varint(content, position)
            kind = tag & 7
            if kind == 0:
                value, position = _varint(content, position)
                yield tag >> 3, value
                continue
            if kind == 2:
                length, position = _varint(content, position)
            else:
                length = {1: 8, 5: 4}[kind]
            if position + length > len(content):
                raise IndexError
            yield tag >> 3, content[position : position + length]
            position += length
    except (IndexError, KeyError) as error:
        raise BadWeights("'tokenizer.model' is damaged.", hint="download it again") from error


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise IndexError


def _utf8(value: bytes | int) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _score(value: bytes | int) -> float:
    if isinstance(value, bytes) and len(value) == 4:
        return float(struct.unpack("<f", value)[0])
    return 0.0


# --- what both share ----------------------------------------------------------------------------


def _added(
    table: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[tuple[str, int, bool], ...]:
    """Tokens that were added to a vocabulary: text, number, whether they are special."""
    found: dict[int, tuple[str, int, bool]] = {}
    decoder = settings.get("added_tokens_decoder")
    for number, entry in (decoder if isinstance(decoder, dict) else {}).items():
        if isinstance(entry, dict) and str(number).isdecimal():
            text = entry.get("content")
            if isinstance(text, str):
                found[int(number)] = (text, int(number), bool(entry.get("special")))
    listed = table.get("added_tokens")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("content"), str):
            number = _number(entry.get("id"))
            found[number] = (entry["content"], number, bool(entry.get("special")))
    return tuple(found[number] for number in sorted(found))


def _dense(by_number: Mapping[int, tuple[str, int]]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Tokens and types in the order of their numbers; gaps are filled with unused ones."""
    size = max(by_number, default=-1) + 1
    if size > MAX_TOKENS:
        raise BadWeights(f"The tokenizer claims {size} tokens.")
    entries = [by_number.get(number, (f"[PAD{number}]", UNUSED)) for number in range(size)]
    return tuple(text for text, _ in entries), tuple(kind for _, kind in entries)


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < MAX_TOKENS:
        raise BadWeights(f"The tokenizer numbers a token {str(value)[:40]!r}.")
    return value
