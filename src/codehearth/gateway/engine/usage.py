"""How many tokens answers took, as engines count them and as OpenAI adds them up. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codehearth.gateway.engine.chunks import Piece


def last_usage(pieces: Sequence[Piece]) -> Mapping[str, Any] | None:
    return next((piece.usage for piece in reversed(pieces) if piece.usage), None)


def summed_usage(asked: Sequence[tuple[int, Mapping[str, Any] | None]]) -> dict[str, Any]:
    """The usage of several choices; `asked` pairs a prompt's number with what its choice used.

    A prompt counts once however many choices answer it, as OpenAI counts.
    """
    prompts: dict[int, Mapping[str, Any]] = {}
    completion_tokens = 0
    for prompt_number, usage in asked:
        if usage is not None:
            before = prompts.get(prompt_number, {})
            # A choice that was answered from memory has read no prompt.
            prompts[prompt_number] = max(before, usage, key=num_prompt_tokens)
            completion_tokens += int(usage.get("completion_tokens", 0))
    prompt_tokens = sum(num_prompt_tokens(usage) for usage in prompts.values())
    cached = sum(num_cached_tokens(usage) for usage in prompts.values())
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def num_prompt_tokens(usage: Mapping[str, Any]) -> int:
    return int(usage.get("prompt_tokens") or 0)


def num_cached_tokens(usage: Mapping[str, Any]) -> int:
    return int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
