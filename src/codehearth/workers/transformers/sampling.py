"""From logits to tokens: what a request asks of the choice, and how a batch of rows is chosen from.

Every row draws from a generator of its own, a number between 0 and 1 for each token. So a seed
gives the same answer whoever else is in the batch and on whatever device.

The order is transformers' and vLLM's: penalties, bias, temperature, top-k, top-p, min-p.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from .beginning import Beginning
from .job import Sampling

_FEW = 1024  # candidates that are looked at before a whole vocabulary is sorted


class Chooser:
    """One row's choice: its sampling, its generator, and what it has seen so far."""

    def __init__(
        self, sampling: Sampling, prompt: Sequence[int], beginning: Beginning | None = None
    ) -> None:
        self.sampling = sampling
        self._beginning = beginning
        self._random = random.Random(sampling.seed)  # noqa: S311 - no secret is made of it
        self._prompt = tuple(prompt) if sampling.has_penalties else ()
        self._counts: torch.Tensor | None = None  # (V,) how often each token was generated
        self._seen: torch.Tensor | None = None  # (V,) whether it was there at all
        self._bias: tuple[torch.Tensor, torch.Tensor] | None = None  # ids, what is added to each

    def draw(self) -> float:
        return self._random.random()

    def took(self, token: int) -> None:
        if self._beginning:
            self._beginning.took(token)
        if self._counts is not None and self._seen is not None:
            self._counts[token] += 1
            self._seen[token] = True

    def adjust(self, logits: torch.Tensor) -> torch.Tensor:
        """Penalties, bias and what the answer must begin with, on the row's logits (V,)."""
        sampling = self.sampling
        if sampling.has_penalties:
            seen, counts = self._memory(logits)
            if sampling.repeat_penalty != 1:
                penalised = torch.where(
                    logits > 0, logits / sampling.repeat_penalty, logits * sampling.repeat_penalty
                )
                logits = torch.where(seen, penalised, logits)
            logits = logits - sampling.frequency_penalty * counts
            logits = logits - sampling.presence_penalty * (counts > 0)
        if sampling.bias:
            if self._bias is None:
                added = list(sampling.bias.values())
                ids = torch.tensor(list(sampling.bias), device=logits.device)
                self._bias = ids, torch.tensor(added, dtype=logits.dtype, device=logits.device)
            logits = logits.index_add(0, *self._bias)
        if self._beginning and (allowed := self._beginning.allowed()):
            ids = torch.tensor(allowed, dtype=torch.long, device=logits.device)
            logits = torch.full_like(logits, -torch.inf).index_copy(0, ids, logits[ids])
        return logits

    def _memory(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._counts is None or self._seen is None:
            self._counts = torch.zeros_like(logits)
            self._seen = torch.zeros_like(logits, dtype=torch.bool)
            self._seen[torch.tensor(self._prompt, dtype=torch.long, device=logits.device)] = True
        return self._seen, self._counts


def choose(logits: torch.Tensor, choosers: Sequence[Chooser]) -> list[int]:
    """The next token of each row; `logits` are (B, V) in float32."""
    rows = [
        chooser.adjust(row) if chooser.sampling.changes_logits else row
        for row, chooser in zip(logits, choosers, strict=True)
    ]
    if any(row is not old for row, old in zip(rows, logits, strict=False)):
        logits = torch.stack(rows)
    drawn = [i for i, chooser in enumerate(choosers) if not chooser.sampling.is_greedy]
    if len(drawn) == len(choosers):
        chosen = _drawn(logits, choosers)
    elif drawn:
        index = torch.tensor(drawn, device=logits.device)
        chosen = logits.argmax(dim=-1)
        chosen[index] = _drawn(logits[index], [choosers[i] for i in drawn])
    else:
        chosen = logits.argmax(dim=-1)
    tokens: list[int] = chosen.tolist()
    for token, chooser in zip(tokens, choosers, strict=True):
        chooser.took(token)
    return tokens


def _drawn(logits: torch.Tensor, choosers: Sequence[Chooser]) -> torch.Tensor:
    """Tokens drawn from the rows' distributions, after their cuts."""
    asked = [chooser.sampling for chooser in choosers]
    columns = [
        [one.temperature for one in asked],
        [chooser.draw() for chooser in choosers],
        [one.top_p for one in asked],
        [one.top_k or logits.shape[-1] for one in asked],
        [one.min_p for one in asked],
    ]
    # All in one copy to the device, each (B, 1).
    sent = torch.tensor(columns, dtype=torch.float32, device=logits.device)[:, :, None]
    temperature, draws, top_p, top_k, min_p = sent.unbind()
    probs = torch.softmax(logits / temperature, dim=-1)
    if not any(one.is_cut for one in asked):
        return _picked(probs, draws)[:, 0]
    values, ids = _candidates(probs, top_k, top_p, min_p)
    ranks = torch.arange(values.shape[-1], device=values.device)
    kept = torch.where(ranks < top_k, values, 0)
    kept = kept / kept.sum(dim=-1, keepdim=True)
    before = kept.cumsum(dim=-1) - kept
    is_kept = (before < top_p) & (kept >= min_p * kept[:, :1])
    is_kept[:, 0] = True
    picked = _picked(torch.where(is_kept, kept, 0), draws)
    return ids.gather(-1, picked)[:, 0]


def _candidates(
    probs: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor, min_p: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The most likely tokens, sorted: a few where that is exact, else all of them.

    Sorting a vocabulary of 150,000 takes longer on a CPU than a small model's whole step.
    """
    if probs.shape[-1] > _FEW:
        values, ids = probs.topk(_FEW, dim=-1)
        is_enough = (
            (top_k[:, 0] <= _FEW)
            | ((top_p[:, 0] < 1) & (values.sum(dim=-1) >= top_p[:, 0]))
            | ((min_p[:, 0] > 0) & (values[:, -1] < min_p[:, 0] * values[:, 0]))
        )
        if bool(is_enough.all()):
            return values, ids
    values, ids = probs.sort(dim=-1, descending=True)
    return values, ids


def _picked(weights: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """The place where the cumulated weights pass the draw, (B, 1)."""
    cumulated = weights.cumsum(dim=-1)
    passed = (cumulated <= draws * cumulated[:, -1:]).sum(dim=-1, keepdim=True)
    # A place without weight cannot be picked: rounding may lead one past the last that has some.
    last = weights.shape[-1] - 1 - (weights > 0).flip(-1).to(torch.uint8).argmax(-1, keepdim=True)
    return torch.minimum(passed, last)
