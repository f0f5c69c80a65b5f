"""A checkpoint that says one thing, whatever it is asked: each of its tokens calls for the next.

Its layers are zero, so what comes next depends on the last token alone. Real engines load it and
run it as any other; so what they make of an answer can be tested with the answer known.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from tiny_checkpoints import FAMILIES, random_tensors, tiny_checkpoint, write_safetensors
from tiny_models import vocabulary

FAMILY = "qwen2-wide"
_STRENGTH = 40.0


def reciting_checkpoint(folder: Path, *pieces: str, chat_template: str) -> Path:
    """It answers with the pieces and ends; no piece may come twice, or be a token already.

    A prompt by the template must end with a line's end: that calls for the first piece.
    """
    tiny_checkpoint(folder, FAMILY, chat_template=chat_template, specials=pieces)
    _make_ordinary(folder / "tokenizer.json", pieces)
    tokens = (*vocabulary()[0], *pieces)
    ids = {token: number for number, token in enumerate(tokens)}
    _, sizes = FAMILIES[FAMILY](len(tokens))
    tensors = random_tensors(sizes, 0)
    for name, tensor in tensors.items():
        if "norm" not in name:
            tensor[:] = 0
    line_end = "Ċ"  # how byte-level vocabularies write it
    said = (line_end, *pieces, "<|im_end|>")
    for place, (token, following) in enumerate(pairwise(said)):
        tensors["model.embed_tokens.weight"][ids[token], place] = 1.0
        tensors["lm_head.weight"][ids[following], place] = _STRENGTH
    write_safetensors(folder / "model.safetensors", tensors, dtype="float32")
    return folder


def _make_ordinary(path: Path, pieces: tuple[str, ...]) -> None:
    """Tokens of their own that are text all the same, as families have for calls of tools."""
    tokenizer = json.loads(path.read_text("utf-8"))
    for token in tokenizer["added_tokens"]:
        if token["content"] in pieces:
            token["special"] = False
    path.write_text(json.dumps(tokenizer), "utf-8")
