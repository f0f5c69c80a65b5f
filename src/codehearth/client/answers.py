"""What a server answers, parsed at the door into frozen types; pure.

Servers differ in what they leave out, so everything but the text has a default. What is there but
has another shape than OpenAI's raises UpstreamFailed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from codehearth.errors import UpstreamFailed


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a server counted; 0 where it did not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of one streamed answer; `reasoning` is what a thinking model says to itself.

    `shown` comes first: the places of a repository that the model was shown, of our own servers.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str = ""
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A whole answer. `finish_reason` is "stop", "length" or what else the server says."""

    text: str
    reasoning: str
    finish_reason: str
    usage: Usage
    model: str

    @property
    def was_cut(self) -> bool:
        return self.finish_reason == "length"


@dataclass(frozen=True)
class ModelCard:
    """A model that a server offers. Another server than ours may say nothing but its name."""

    name: str
    context_tokens: int | None = None
    precision: str | None = None
    num_bytes: int | None = None
    created_at: int | None = None
    """When its files were made, in seconds; other servers than ours may say any time."""


@dataclass(frozen=True)
class LiveModel:
    """A model in a server's memory, as `hearth ps` shows it; times are seconds."""

    name: str
    state: str
    memory_bytes: int | None
    predicted_bytes: int
    in_flight: int
    waiting: int
    idle_s: float | None
    expires_in_s: float | None
    num_slots: int
    context_tokens: int
    engine: str
    why: str
    gpu_bytes: int = 0
    """What it takes of the GPUs' memory, as predicted."""
    num_shown: int = 0
    """Suggestions that editors told of, since the server's start."""
    num_accepted: int = 0


def gathered(pieces: Iterable[Piece]) -> Answer:
    """The whole answer that some pieces make."""
    texts, reasonings = [], []
    finish_reason, usage, model = "stop", Usage(), ""
    for piece in pieces:
        texts.append(piece.text)
        reasonings.append(piece.reasoning)
        finish_reason = piece.finish_reason or finish_reason
        usage = piece.usage or usage
        model = piece.model or model
    return Answer("".join(texts), "".join(reasonings), finish_reason, usage, model)


def piece_of(chunk: Mapping[str, Any]) -> Piece:
    """One chunk of a streamed chat or completion (of its first choice)."""
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    if not isinstance(choice, dict):
        raise UpstreamFailed("The server sent a choice that is not an object.")
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    return Piece(
        text=_text(delta.get("content")) or _text(choice.get("text")),
        reasoning=_text(delta.get("reasoning_content") or delta.get("reasoning")),
        finish_reason=_text(choice.get("finish_reason")) or None,
        usage=_usage(chunk.get("usage")),
        model=_text(chunk.get("model")),
    )


def card_of(entry: Any) -> ModelCard:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        raise UpstreamFailed("The server's list of models is not in OpenAI's shape.")
    return ModelCard(
        name=entry["id"],
        context_tokens=_whole(entry.get("context_window")),
        precision=_text(entry.get("precision")) or None,
        num_bytes=_whole(entry.get("size_bytes")),
        created_at=_whole(entry.get("created")),
    )


def live_model_of(entry: Any) -> LiveModel:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise UpstreamFailed("The server's list of live models is not in our shape.")
    told = entry.get("suggestions")
    suggestions = told if isinstance(told, dict) else {}
    return LiveModel(
        name=entry["name"],
        state=_text(entry.get("state")),
        memory_bytes=_whole(entry.get("memory_bytes")),
        predicted_bytes=_whole(entry.get("predicted_bytes")) or 0,
        in_flight=_whole(entry.get("in_flight")) or 0,
        waiting=_whole(entry.get("waiting")) or 0,
        idle_s=_number(entry.get("idle_s")),
        expires_in_s=_number(entry.get("expires_in_s")),
        num_slots=_whole(entry.get("num_slots")) or 0,
        context_tokens=_whole(entry.get("context_tokens")) or 0,
        engine=_text(entry.get("engine")),
        why=_text(entry.get("why")),
        gpu_bytes=_whole(entry.get("gpu_bytes")) or 0,
        num_shown=_whole(suggestions.get("shown")) or 0,
        num_accepted=_whole(suggestions.get("accepted")) or 0,
    )


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    return Usage(
        _whole(value.get("prompt_tokens")) or 0, _whole(value.get("completion_tokens")) or 0
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and value == value else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
