"""A byte-level tokenizer out of GGUF's facts, as a checkpoint's files: `vocabularies` backwards."""

from __future__ import annotations

from collections.abc import Sequence

from codehearth.errors import Unsupported
from codehearth.lab import gguf_bytes
from codehearth.lab.gguf_bytes import Fact
from codehearth.lab.vocabularies import CONTROL, NORMAL, PRE_TOKENIZERS, USER_DEFINED
from codehearth.models.gguf_metadata import Metadata


def files_of(facts: Sequence[Fact], metadata: Metadata) -> dict[str, dict[str, object]]:
    """The files by their names; raises BadWeights and Unsupported.

    `facts` holds the lists, which `metadata` passes over.
    """
    tokens = gguf_bytes.texts_of(facts, "tokenizer.ggml.tokens")
    types = gguf_bytes.wholes_of(facts, "tokenizer.ggml.token_type")
    merges = gguf_bytes.texts_of(facts, "tokenizer.ggml.merges")
    pattern = _pattern(metadata)
    if not tokens or len(types) != len(tokens):
        raise metadata.bad(f"has {len(tokens)} tokens and {len(types)} types of them")
    return {
        "tokenizer.json": _tokenizer(tokens, types, merges, pattern),
        "tokenizer_config.json": _settings(tokens, metadata),
    }


def _pattern(metadata: Metadata) -> str:
    """The expression that text is split by before it is merged."""
    model, pre = (metadata.text(f"tokenizer.ggml.{key}") or "" for key in ("model", "pre"))
    found = next((text for text, name in PRE_TOKENIZERS.items() if name == pre), None)
    if model != "gpt2" or found is None or metadata.flag("tokenizer.ggml.add_bos_token"):
        raise Unsupported(
            f"The GGUF's tokenizer ({model[:40]}, {pre[:40]}) cannot be written as a checkpoint's.",
            param="model",
        )
    return found


def _tokenizer(
    tokens: Sequence[str], types: Sequence[int], merges: Sequence[str], pattern: str
) -> dict[str, object]:
    """As the library `tokenizers` reads it. Tokens that were added stand apart where they are the
    last ones, for so their numbers follow by themselves."""
    num_plain = max((number + 1 for number, kind in enumerate(types) if kind == NORMAL), default=0)
    added = [
        _added(number, tokens[number], is_special=kind == CONTROL)
        for number, kind in enumerate(types)
        if kind in (CONTROL, USER_DEFINED)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": pattern},
                    "behavior": "Isolated",
                    "invert": False,
                },
                byte_level | {"use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": byte_level | {"add_prefix_space": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens[:num_plain])},
            "merges": [merge.split(" ", 1) for merge in merges],
        },
    }


def _added(number: int, token: str, *, is_special: bool) -> dict[str, object]:
    return {
        "id": number,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": is_special,
    }


def _settings(tokens: Sequence[str], metadata: Metadata) -> dict[str, object]:
    def token(role: str) -> str:
        number = metadata.count(f"tokenizer.ggml.{role}_token_id", maximum=len(tokens) - 1)
        return tokens[number]

    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "eos_token": token("eos"),
        "pad_token": token("padding"),
        "model_max_length": metadata.of("context_length"),
        "chat_template": metadata.text("tokenizer.chat_template"),
    }
