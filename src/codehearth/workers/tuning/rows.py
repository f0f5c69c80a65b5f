"""From an example to the tokens that are learnt: exactly what an engine would see, and no more.

A prompt is rendered with the checkpoint's own template and made into tokens as a whole, as an
engine does it; the answer's tokens are made apart, because an engine writes them one by one behind
the prompt. So no token of training spans the place where answering begins. What is learnt ends
with the token that ends an answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .parent import Refused

IGNORED = -100


@dataclass(frozen=True)
class Counted:
    """`longest` counts the tokens of the longest example, also of one that was left out."""

    num_rows: int
    num_too_long: int
    longest: int
    num_tokens: int
    num_learnt: int


def read_rows(
    path: str, tokenizer: Any, end_ids: frozenset[int], *, max_tokens: int, long_rows: str
) -> tuple[list[dict[str, list[int]]], Counted]:
    """The tokens and labels of every example that fits, or that is cut to fit."""
    kept: list[dict[str, list[int]]] = []
    num_rows = num_too_long = longest = 0
    for row in _lines(path):
        ids, labels = tokens_of(row, tokenizer, end_ids)
        num_rows += 1
        longest = max(longest, len(ids))
        if len(ids) > max_tokens:
            num_too_long += 1
            if long_rows == "drop":
                continue
            ids, labels = ids[:max_tokens], labels[:max_tokens]
            if all(label == IGNORED for label in labels):
                continue
        kept.append({"input_ids": ids, "labels": labels})
    num_tokens = sum(len(row["input_ids"]) for row in kept)
    num_learnt = sum(label != IGNORED for row in kept for label in row["labels"])
    return kept, Counted(num_rows, num_too_long, longest, num_tokens, num_learnt)


def tokens_of(
    row: dict[str, Any], tokenizer: Any, end_ids: frozenset[int]
) -> tuple[list[int], list[int]]:
    """The example's tokens, and the same with what is not learnt ignored."""
    if "messages" in row:
        pieces = list(_pieces(row["messages"], tokenizer))
    else:
        pieces = [(row["prompt"], False), (row["completion"], True)]
    ids: list[int] = []
    labels: list[int] = []
    for number, (text, is_learnt) in enumerate(pieces):
        is_plain = "messages" not in row and number == 0
        piece = tokenizer(text, add_special_tokens=is_plain)["input_ids"]
        num_learnt = len(piece) if is_learnt else 0
        if is_learnt:
            piece, num_learnt = _ended(piece, tokenizer, end_ids, is_last=number == len(pieces) - 1)
        ids += piece
        labels += piece[:num_learnt] + [IGNORED] * (len(piece) - num_learnt)
    return ids, labels


def _pieces(messages: list[dict[str, str]], tokenizer: Any) -> Iterator[tuple[str, bool]]:
    """The conversation's text in pieces, and whether each is learnt.

    A template may show earlier turns otherwise than it asked for them (it drops what was thought);
    then only the last answer is learnt, behind what an engine would see.
    """
    turns = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
    for learnt in (turns, turns[-1:]):
        pieces, seen = [], ""
        for turn in learnt:
            asked = rendered(messages[:turn], tokenizer, asks=True)
            through = rendered(messages[: turn + 1], tokenizer, asks=False)
            if not asked.startswith(seen) or not through.startswith(asked):
                break
            pieces += [(asked[len(seen) :], False), (through[len(asked) :], True)]
            seen = through
        else:
            yield from pieces
            return
    raise Refused(
        "Unsupported", "The checkpoint's chat template writes answers otherwise than it asks."
    )


def rendered(messages: list[dict[str, str]], tokenizer: Any, *, asks: bool) -> str:
    """The template's text; `asks` where the assistant is to speak next."""
    if tokenizer.chat_template is None:
        raise Refused(
            "Unsupported",
            "The checkpoint has no chat template: it can learn prompt/completion and code only.",
        )
    try:
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks)
        )
    except Exception as error:  # whatever a template raises, it is about these messages
        raise Refused(
            "InvalidRequest", f"The checkpoint's chat template refuses a conversation: {error}"
        ) from error


def _ended(
    piece: list[int], tokenizer: Any, end_ids: frozenset[int], *, is_last: bool
) -> tuple[list[int], int]:
    """An answer's tokens and how many are learnt: up to the token that ends it.

    Behind that an engine has stopped; the last answer is cut there.
    """
    ends = [at for at, token in enumerate(piece) if token in end_ids]
    if not ends and is_last:
        return [*piece, tokenizer.eos_token_id], len(piece) + 1
    if not ends:
        return piece, len(piece)
    return (piece[: ends[-1] + 1] if is_last else piece), ends[-1] + 1


def _lines(path: str) -> Iterator[dict[str, Any]]:
    with Path(path).open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
