"""Tokenizers of checkpoints; llama.cpp itself cuts text with what was made of them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from codehearth.errors import BadWeights, Unsupported
from codehearth.lab.checkpoint_source import checkpoint_source
from codehearth.lab.scoring import tokenize
from codehearth.lab.vocabularies import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    read_vocabulary,
)
from tests.lab.checkpoints import QWEN2_PATTERN, Sizes, make_checkpoint
from tests.lab.test_quantize import quantised

PIECES = [
    ("<unk>", 0.0, UNKNOWN),
    ("<s>", 0.0, CONTROL),
    ("</s>", 0.0, CONTROL),
    *((f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)),
    ("▁t", -1.0, NORMAL),
    ("he", -2.0, NORMAL),
    ("▁the", -3.0, NORMAL),
    *((letter, -10.0 - number, NORMAL) for number, letter in enumerate("▁thea")),
]


def varint(value: int) -> bytes:
    content = b""
    while value > 127:
        content, value = content + bytes([value & 127 | 128]), value >> 7
    return content + bytes([value])


def field(number: int, content: bytes | int | float) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(content, float):
        return varint(number << 3 | 5) + struct.pack("<f", content)
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def sentencepiece(folder: Path, *, model_type: int = 2, adds_space: bool = True) -> None:
    content = b"".join(
        field(1, field(1, text.encode()) + field(2, score) + field(3, kind))
        for text, score, kind in PIECES
    )
    content += field(2, field(3, model_type)) + field(3, field(3, int(adds_space)))
    (folder / "tokenizer.model").write_bytes(content)


def llama_with_sentencepiece(folder: Path) -> Path:
    checkpoint = make_checkpoint(
        folder / "tiny", "LlamaForCausalLM", Sizes(config={"bos_token_id": 1, "eos_token_id": 2})
    )
    (checkpoint.folder / "generation_config.json").unlink()
    (checkpoint.folder / "tokenizer.json").unlink()
    (checkpoint.folder / "tokenizer_config.json").write_text("{}")
    sentencepiece(checkpoint.folder)
    return checkpoint.folder


def tokenizer(folder: Path, **changes: Any) -> Path:
    checkpoint = make_checkpoint(folder)
    file = checkpoint.folder / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return checkpoint.folder


def test_sentencepiece_cuts_text_as_its_scores_say(tmp_path: Path) -> None:
    folder = llama_with_sentencepiece(tmp_path)

    path = quantised(checkpoint_source(folder, name="tiny"), "q8_0", tmp_path / "made")

    tokens, size = tokenize(path, "the eat")
    texts = [PIECES[token][0] for token in tokens]
    assert texts == ["▁the", "▁", "e", "a", "t"]
    assert size > len(PIECES)  # the embedding has more rows


def test_a_letter_that_no_piece_has_becomes_its_bytes(tmp_path: Path) -> None:
    folder = llama_with_sentencepiece(tmp_path)

    path = quantised(checkpoint_source(folder, name="tiny"), "q8_0", tmp_path / "made")

    tokens, _ = tokenize(path, "é")
    assert [PIECES[token][0] for token in tokens] == ["▁", "<0xC3>", "<0xA9>"]


def test_byte_level_tokens_are_cut_as_in_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "tiny")

    path = quantised(checkpoint_source(checkpoint.folder, name="tiny"), "q8_0", tmp_path / "made")

    tokens, _ = tokenize(path, "def é")
    text = "".join(checkpoint.tokens[token] for token in tokens)
    assert text == "defĠÃ©"
    assert len(tokens) < len(text)  # `def` is one token


@pytest.mark.parametrize(
    ("changes", "pre"),
    [
        ({}, "qwen2"),
        ({"pre_tokenizer": {"type": "ByteLevel", "use_regex": True}}, "gpt-2"),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}]}},
            "starcoder",
        ),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": QWEN2_PATTERN.replace(
                    r"\p{N}|", r"\p{N}{1,3}|", 1)}}, {"type": "ByteLevel"}]}},
            "llama-bpe",
        ),
    ],
)  # fmt: skip
def test_the_way_of_splitting_is_known_by_its_pattern(
    changes: dict[str, Any], pre: str, tmp_path: Path
) -> None:
    assert read_vocabulary(tokenizer(tmp_path / "tiny", **changes)).pre == pre


def test_a_template_that_begins_with_a_token_asks_for_it(tmp_path: Path) -> None:
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]}
    folder = tokenizer(tmp_path / "tiny", post_processor=template)
    (folder / "tokenizer_config.json").write_text("{}")

    assert read_vocabulary(folder).add_bos is True


def test_merges_in_both_spellings_are_the_same(tmp_path: Path) -> None:
    old = read_vocabulary(make_checkpoint(tmp_path / "old").folder)
    table = json.loads((tmp_path / "old" / "tokenizer.json").read_text())
    model = {**table["model"], "merges": [pair.split(" ") for pair in table["model"]["merges"]]}
    new = read_vocabulary(tokenizer(tmp_path / "new", model=model))

    assert old.merges == new.merges


def test_added_tokens_that_are_not_special_are_words_of_the_user(tmp_path: Path) -> None:
    added = [{"id": 400, "content": "<tool_call>", "special": False}]

    vocabulary = read_vocabulary(tokenizer(tmp_path / "tiny", added_tokens=added))

    assert vocabulary.tokens[400] == "<tool_call>"
    assert vocabulary.types[400] == USER_DEFINED


def test_other_kinds_of_sentencepiece_are_refused(tmp_path: Path) -> None:
    folder = llama_with_sentencepiece(tmp_path)
    sentencepiece(folder, model_type=1)  # unigram

    with pytest.raises(Unsupported, match="no BPE"):
        read_vocabulary(folder)


@pytest.mark.parametrize("content", [b"\x0a\xff\xff\xff", b"\x0f", b"", b"\x80" * 40])
def test_a_damaged_tokenizer_model_is_refused(content: bytes, tmp_path: Path) -> None:
    folder = llama_with_sentencepiece(tmp_path)
    (folder / "tokenizer.model").write_bytes(content)

    with pytest.raises(BadWeights):
        read_vocabulary(folder)


@pytest.mark.parametrize(
    "changes",
    [{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}},
     {"model": {"type": "BPE", "vocab": {"a": 1 << 40}, "merges": []}},
     {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}},
     {"model": 3}],
)  # fmt: skip
def test_a_damaged_tokenizer_json_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadWeights):
        read_vocabulary(tokenizer(tmp_path / "tiny", **changes))


def test_a_unigram_tokenizer_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        read_vocabulary(tokenizer(tmp_path / "tiny", model={"type": "Unigram", "vocab": {}}))
