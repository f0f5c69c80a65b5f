"""How likely tokens were, and what would have been as likely: looked at for many of them together,
since each look waits for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .job import Token

_SCORED_ROWS = 32


def with_logprobs(
    logits: torch.Tensor, tokens: Sequence[int], counts: Sequence[int | None]
) -> list[Token]:
    """Each token with its log-probability and so many of the likeliest ones as its count says;
    without any where that is None. `logits` (n, V) as they came."""
    found = [Token(token, None) for token in tokens]
    wanted = {place: count for place, count in enumerate(counts) if count is not None}
    if not wanted:
        return found
    places = list(wanted)
    rows = logits if len(places) == len(tokens) else logits[places]
    taken = [tokens[place] for place in places]
    scores = _top_logprobs(rows, taken, max(wanted.values()))
    for (place, count), (own, top) in zip(wanted.items(), scores, strict=True):
        found[place] = Token(tokens[place], own, top[:count])
    return found


def _top_logprobs(
    logits: torch.Tensor, chosen: Sequence[int], count: int
) -> list[tuple[float, list[tuple[int, float]]]]:
    """For each row the log-probability of its `chosen` token and of the `count` likeliest ones;
    `logits` (n, V) as they came.

    A few rows at a time: what is made of the logits is as large as they are, in 32 bits.
    """
    found: list[tuple[float, list[tuple[int, float]]]] = []
    for begun in range(0, len(chosen), _SCORED_ROWS):
        rows = slice(begun, begun + _SCORED_ROWS)
        logprobs = torch.log_softmax(logits[rows].float(), dim=-1)
        taken = torch.tensor(chosen[rows], dtype=torch.long, device=logits.device)
        values, ids = logprobs.topk(min(count, logprobs.shape[-1]))
        own = logprobs.gather(-1, taken[:, None])[:, 0]
        tops = (
            list(zip(*row, strict=True)) for row in zip(ids.tolist(), values.tolist(), strict=True)
        )
        found += zip(own.tolist(), tops, strict=True)
    return found
