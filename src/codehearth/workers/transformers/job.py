"""What a request asks of the computing thread, and what comes back piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .sampling import Sampling

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Token:
    """One token with its log-probability, None for a prompt's first, and the likeliest others."""

    id: int
    logprob: float | None
    top: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True)
class Piece:
    """A part of an answer. `num_read` of the prompt's tokens have been read so far."""

    text: str = ""
    tokens: Sequence[Token] = ()
    finish_reason: FinishReason | None = None
    error: str | None = None
    num_read: int = 0


@dataclass(eq=False)
class Job:
    """One answer to one prompt; `num_new_tokens` is the computing thread's.

    `end_ids` end it beside what ends every answer. `num_top` None: no log-probabilities are
    wanted; `scores_prompt`: those of the prompt are wanted too. `out` takes the pieces in the
    talking thread.
    """

    prompt: Sequence[int]
    max_new_tokens: int
    sampling: Sampling
    stops: Sequence[str]
    out: Any
    end_ids: frozenset[int] = frozenset()
    num_top: int | None = None
    scores_prompt: bool = False
    ignores_end: bool = False
    is_cancelled: bool = field(default=False)
    num_new_tokens: int = field(default=0)
