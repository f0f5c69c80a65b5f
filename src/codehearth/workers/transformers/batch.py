"""Sequences that are computed together: their keys and values in one cache, padded on the left.

Rows come and go between steps: a new one is padded to the others' length and joins them, one that
is done is taken out and the padding that nobody needs any more is cut off. So nobody waits for
the longest answer, with any architecture whose cache is keys and values by position. A cache of
another kind (sliding windows, recurrent states) stays alone in a batch of one row.

To be called in torch's inference mode.
"""

from __future__ import annotations

import functools
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
    """B rows with T places in the cache, T being `num_places`.

    `lengths` counts each row's tokens in the cache, so it is also its next position; the places
    before them are padding.
    """

    cache: Any
    num_places: int
    lengths: list[int]
    logits: torch.Tensor  # (B, V) float32, of the last token of each row


def read(loaded: Loaded, prompts: Sequence[Sequence[int]]) -> Batch:
    """A new batch that has read these prompts at once."""
    lengths = [len(prompt) for prompt in prompts]
    longest = max(lengths)
    # One copy to the device: the padding of each row is its first number.
    rows = [[longest - len(prompt), *[0] * (longest - len(prompt)), *prompt] for prompt in prompts]
    sent = torch.tensor(rows, dtype=torch.long, device=loaded.device)
    padding, ids = sent[:, :1], sent[:, 1:]
    positions = (torch.arange(longest, device=loaded.device) - padding).clamp(min=0)
    cache = DynamicCache(config=loaded.model.config)
    mask = _mask(loaded, padding, longest, is_padded=min(lengths) < longest)
    output = _forward(loaded, ids, positions, mask, cache)
    return Batch(cache, longest, lengths, output[:, -1].float())


def read_more(
    loaded: Loaded, batch: Batch | None, tokens: Sequence[int], *, all_logits: bool = False
) -> tuple[Batch, torch.Tensor]:
    """The batch of one row after more of its prompt, and its logits (n, V) or only the last."""
    begun = batch.lengths[0] if batch is not None else 0
    cache = batch.cache if batch is not None else DynamicCache(config=loaded.model.config)
    ids = torch.tensor([tokens], dtype=torch.long, device=loaded.device)
    positions = torch.arange(begun, begun + len(tokens), device=loaded.device)[None]
    read = begun + len(tokens)
    mask = _mask(loaded, torch.zeros_like(ids[:, :1]), read, is_padded=False)
    logits = _forward(loaded, ids, positions, mask, cache, all_logits=all_logits)[0]
    return Batch(cache, read, [read], logits[-1:].float()), logits


def step(loaded: Loaded, batch: Batch, tokens: Sequence[int]) -> None:
    """One more token for each row."""
    sent = torch.tensor([tokens, batch.lengths], dtype=torch.long, device=loaded.device)
    ids, positions = sent[0, :, None], sent[1, :, None]
    is_padded = min(batch.lengths) < batch.num_places
    padding = batch.num_places - positions
    mask = _mask(loaded, padding, batch.num_places + 1, is_padded=is_padded)
    batch.logits = _forward(loaded, ids, positions, mask, batch.cache)[:, -1].float()
    batch.lengths = [length + 1 for length in batch.lengths]
    batch.num_places += 1


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
    return Batch(
        one.cache,
        num_places,
        one.lengths + other.lengths,
        torch.cat((one.logits, other.logits)),
    )


def keep(batch: Batch, rows: Sequence[int]) -> None:
    """Take all other rows out, and the padding that was there for them."""
    index = torch.tensor(rows, dtype=torch.long)
    on = functools.cache(index.to)  # layers may be on several devices; each gets one copy
    batch.lengths = [batch.lengths[row] for row in rows]
    spare = batch.num_places - max(batch.lengths)
    batch.num_places -= spare
    batch.logits = batch.logits[on(batch.logits.device)]
    for layer in batch.cache.layers:
        here = on(layer.keys.device)
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


def _mask(
    loaded: Loaded, padding: torch.Tensor, num_places: int, *, is_padded: bool
) -> torch.Tensor | None:
    """(B, T), 1 where a place holds a token; `padding` (B, 1) counts those that hold none.

    None where all hold one: transformers would read a mask back from the device to find that out,
    and the device would stand still meanwhile, at every token. Models that make their positions of
    the mask get it always.
    """
    if not is_padded and "position_ids" in loaded.takes:
        return None
    return (torch.arange(num_places, device=padding.device) >= padding).long()


def _forward(
    loaded: Loaded,
    ids: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor | None,
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
