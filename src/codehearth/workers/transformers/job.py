"""What a request asks of the computing thread, and what comes back piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

FinishReason = Literal["stop", "length"]
Deliver = Callable[..., object]  # (function, argument): calls it in the talking thread
_GREEDY = 1e-5


@dataclass(frozen=True)
class Sampling:
    """How a row's tokens are chosen. Temperature 0 takes the most likely one.

    `begins_with` is what the answer is made to begin with.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    bias: Mapping[int, float] = field(default_factory=dict)
    begins_with: str = ""

    @property
    def is_greedy(self) -> bool:
        return self.temperature < _GREEDY

    @property
    def is_cut(self) -> bool:
        return self.top_p < 1 or self.top_k > 0 or self.min_p > 0

    @property
    def has_penalties(self) -> bool:
        return (self.repeat_penalty, self.presence_penalty, self.frequency_penalty) != (1, 0, 0)

    @property
    def changes_logits(self) -> bool:
        return self.has_penalties or bool(self.bias or self.begins_with)


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

    `adapter` is the place of the one that answers. `end_ids` end it beside what ends every answer.
    `num_top` None: no log-probabilities are wanted; `scores_prompt`: those of the prompt are wanted
    too. `out` takes the pieces in the talking thread.
    """

    prompt: Sequence[int]
    max_new_tokens: int
    sampling: Sampling
    stops: Sequence[str]
    out: Any
    adapter: int | None = None
    end_ids: frozenset[int] = frozenset()
    num_top: int | None = None
    scores_prompt: bool = False
    ignores_end: bool = False
    is_cancelled: bool = field(default=False)
    num_new_tokens: int = field(default=0)


def put_all(pieces: Sequence[tuple[Job, Piece]]) -> None:
    """Where each job's request waits for its pieces; for the talking thread."""
    for job, piece in pieces:
        job.out.put_nowait(piece)


class Computing(Protocol):
    """Who works on jobs: `loop.Loop`, and its like in other workers."""

    def add(self, job: Job) -> None:
        """Raises `listener.Refused` for what it cannot do."""
        ...

    @property
    def num_running(self) -> int: ...
    @property
    def num_waiting(self) -> int: ...


class Vocabulary(Protocol):
    """What reading a request needs of a model: its tokenizer, a Hugging Face one."""

    @property
    def tokenizer(self) -> Any: ...
    @property
    def vocabulary_size(self) -> int: ...
    @property
    def num_adapters(self) -> int: ...
