"""Sequences that are computed together: their keys and values in one cache, padded on the left.

Rows come and go between steps: a new one is padded to the others' length and joins them, one that
is done is taken out and the padding that nobody needs any more is cut off. So nobody waits for
the longest answer, with any architecture whose cache is keys and values by position. A cache of
another kind (sliding windows, recurrent states) stays alone in a batch of one row.

To be called in torch's inference mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from .loading import Loaded

# Rows of very different lengths cost more together than apart: all are padded to the longest.
_MAX_PADDING = 2.0
_SMALL_TOKENS = 4096


@dataclass(eq=False)
class Batch:
    """B rows with T places in the cache. `mask` (B, T) is 1 where a place holds a token.

    `lengths` counts each row's tokens in the cache, so it is also its next position.
    """

    cache: Any
    mask: torch.Tensor
    lengths: list[int]
    logits: torch.Tensor  # (B, V) float32, of the last token of each row

    @property
    def num_places(self) -> int:
        return int(self.mask.shape[1])


def read(loaded: Loaded, prompts: Sequence[Sequence[int]]) -> Batch:
    """A new batch that has read these prompts at once."""
    longest = max(map(len, prompts))
    ids = torch.zeros((len(prompts), longest), dtype=torch.long, device=loaded.device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt, device=loaded.device)
        mask[row, longest - len(prompt) :] = 1
    positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
    cache = DynamicCache(config=loaded.model.config)
    output = _forward(loaded, ids, positions, mask, cache)
    return Batch(cache, mask, [len(prompt) for prompt in prompts], output[:, -1].float())


def read_more(
    loaded: Loaded, batch: Batch | None, tokens: Sequence[int], *, all_logits: bool = False
) -> tuple[Batch, torch.Tensor]:
    """The batch of one row after more of its prompt, and its logits (n, V) or only the last."""
    begun = batch.lengths[0] if batch is not None else 0
    cache = batch.cache if batch is not None else DynamicCache(config=loaded.model.config)
    ids = torch.tensor([tokens], dtype=torch.long, device=loaded.device)
    positions = torch.arange(begun, begun + len(tokens), device=loaded.device)[None]
    mask = torch.ones((1, begun + len(tokens)), dtype=torch.long, device=loaded.device)
    logits = _forward(loaded, ids, positions, mask, cache, all_logits=all_logits)[0]
    return Batch(cache, mask, [begun + len(tokens)], logits[-1:].float()), logits


def step(loaded: Loaded, batch: Batch, tokens: Sequence[int]) -> None:
    """One more token for each row."""
    ids = torch.tensor(tokens, dtype=torch.long, device=loaded.device)[:, None]
    positions = torch.tensor(batch.lengths, dtype=torch.long, device=loaded.device)[:, None]
    batch.mask = torch.cat((batch.mask, torch.ones_like(ids)), dim=1)
    batch.logits = _forward(loaded, ids, positions, batch.mask, batch.cache)[:, -1].float()
    batch.lengths = [length + 1 for length in batch.lengths]


def can_join(one: Batch, other: Batch) -> bool:
    """Whether two batches may and should become one."""
    if not (_is_plain(one.cache) and _is_plain(other.cache)):
        return False
    lengths = one.lengths + other.lengths
    num_places = max(one.num_places, other.num_places) * len(lengths)
    return num_places <= _MAX_PADDING * sum(lengths) + _SMALL_TOKENS


def joined(one: Batch, other: Batch) -> Batch:
    """Both batches' rows, `one`'s first, in the cache of `one`."""
    num_places = max(one.num_places, other.num_places)
    for layer, more in zip(one.cache.layers, other.cache.layers, strict=True):
        layer.keys = _stacked(layer.keys, more.keys, num_places)
        layer.values = _stacked(layer.values, more.values, num_places)
    masks = (
        torch.nn.functional.pad(batch.mask, (num_places - batch.num_places, 0))
        for batch in (one, other)
    )
    return Batch(
        one.cache,
        torch.cat(tuple(masks)),
        one.lengths + other.lengths,
        torch.cat((one.logits, other.logits)),
    )


def keep(batch: Batch, rows: Sequence[int]) -> None:
    """Take all other rows out, and the padding that was there for them."""
    index = torch.tensor(rows, dtype=torch.long)
    batch.lengths = [batch.lengths[row] for row in rows]
    spare = batch.num_places - max(batch.lengths)
    batch.mask = batch.mask[index.to(batch.mask.device), spare:]
    batch.logits = batch.logits[index.to(batch.logits.device)]
    for layer in batch.cache.layers:
        here = index.to(layer.keys.device)
        layer.keys = layer.keys[here, :, spare:].contiguous()
        layer.values = layer.values[here, :, spare:].contiguous()


def _stacked(one: torch.Tensor, other: torch.Tensor, num_places: int) -> torch.Tensor:
    """(B, heads, T, size) of both, padded on the left to `num_places`."""
    padded = (
        torch.nn.functional.pad(part, (0, 0, num_places - part.shape[-2], 0))
        for part in (one, other)
    )
    return torch.cat(tuple(padded))


def _is_plain(cache: Any) -> bool:
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def _forward(
    loaded: Loaded,
    ids: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor,
    cache: Any,
    *,
    all_logits: bool = False,
) -> torch.Tensor:
    """The model's logits (B, n, V), or (B, 1, V) of the last place where it can save the rest."""
    given: dict[str, Any] = {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": positions,
        "past_key_values": cache,
        "use_cache": True,
    }
    if not all_logits and "logits_to_keep" in loaded.takes:
        given["logits_to_keep"] = 1
    if "position_ids" not in loaded.takes:  # it makes them from the mask
        del given["position_ids"]
    logits: torch.Tensor = loaded.model(**given).logits
    return logits
