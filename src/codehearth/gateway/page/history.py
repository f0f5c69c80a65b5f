"""How much of a conversation goes back to the model; pure.

A turn is a message of the user with the answers below it. The newest turn is always sent. Older
ones are sent, newest first, as long as

1. there are no more than `max_turns`, and
2. what they take, with room for an answer, is within the model's context.

No tokenizer is asked: tokens are estimated from bytes, and the estimate is corrected by what the
engine counted for the last answer on the same branch. Where it still was too low, the engine
refuses before it computes anything and says how many tokens it saw; `Estimate.corrected` learns
from that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codehearth.records.talk import Message
from codehearth.text.attachments import with_files

DEFAULT_MAX_TOKENS = 512
_BYTES_PER_TOKEN = 3.0
"""Code in English has some 3.3 bytes for each token, Chinese about 3 (one character)."""

_TOKENS_PER_MESSAGE = 6
"""What a template puts around each message."""

_SAFETY = 1.03


@dataclass(frozen=True)
class Estimate:
    """Tokens of some text: bytes, times what experience says."""

    factor: float = 1.0

    def tokens(self, messages: Sequence[Mapping[str, str]]) -> int:
        return math.ceil(self.factor * sum(map(_plain_tokens, messages)))

    def corrected(self, *, estimated: int, counted: int) -> Estimate:
        """After the engine counted what was estimated here; never by less than a hundredth."""
        if estimated <= 0 or counted <= 0:
            return Estimate(self.factor * 1.5)
        return Estimate(self.factor * max(1.01, _SAFETY * counted / estimated))


@dataclass(frozen=True)
class Sent:
    """What goes to the model: its messages, and how many old turns were left out."""

    messages: tuple[Mapping[str, str], ...]
    left_out_turns: int
    estimated_tokens: int
    is_least: bool
    """Whether only the newest turn is left: there is nothing more to leave out."""


def sent(
    path: Sequence[Message],
    *,
    system_prompt: str,
    context_tokens: int,
    max_tokens: int | None,
    max_turns: int | None,
    estimate: Estimate,
) -> Sent:
    """The newest turns of a branch that fit, below the system prompt."""
    head = [{"role": "system", "content": system_prompt}] if system_prompt else []
    turns = turns_of(path)
    room = context_tokens - _reserved(context_tokens, max_tokens) - estimate.tokens(head)
    first = len(turns)
    for number in range(len(turns) - 1, -1, -1):
        room -= estimate.tokens(turns[number])
        is_wanted = max_turns is None or len(turns) - number <= max_turns
        if number < len(turns) - 1 and (room < 0 or not is_wanted):
            break
        first = number
    messages = [*head, *(message for turn in turns[first:] for message in turn)]
    return Sent(
        messages=tuple(messages),
        left_out_turns=first,
        estimated_tokens=estimate.tokens(messages),
        is_least=first >= len(turns) - 1,
    )


def estimate_for(path: Sequence[Message], *, model: str, system_prompt: str) -> Estimate:
    """From the newest answer on the branch whose tokens this model's engine counted."""
    for number in range(len(path) - 1, -1, -1):
        message, figures = path[number], path[number].figures or {}
        counted = figures.get("context_used")
        if message.role == "assistant" and message.model == model and counted:
            known = turns_of(path[: number + 1])[int(figures.get("left_out_turns") or 0) :]
            head = [{"role": "system", "content": system_prompt}] if system_prompt else []
            estimated = Estimate().tokens([*head, *(one for turn in known for one in turn)])
            if estimated:
                return Estimate(_SAFETY * counted / estimated)
    return Estimate()


def turns_of(path: Sequence[Message]) -> list[list[dict[str, str]]]:
    """The branch as the model reads it, cut before each question.

    Answers without text are left out: they failed before their first token. Messages of one role
    that then follow each other become one, as many templates refuse to see two.
    """
    turns: list[list[dict[str, str]]] = []
    for message in path:
        content = with_files(message.content, ((one.name, one.text) for one in message.attachments))
        if message.role == "assistant" and not content:
            continue
        last = turns[-1][-1] if turns else {"role": ""}
        if last["role"] == message.role:
            last["content"] += f"\n\n{content}"
        elif message.role == "user" or not turns:
            turns.append([{"role": message.role, "content": content}])
        else:
            turns[-1].append({"role": message.role, "content": content})
    return turns


def request_of(sent: Sent, *, model: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a chat request; what was not set has the defaults of the page."""
    return {
        "max_tokens": DEFAULT_MAX_TOKENS,
        **parameters,
        "model": model,
        "messages": list(sent.messages),
    }


def _reserved(context_tokens: int, max_tokens: int | None) -> int:
    """Room for the answer: what was asked for, but not more than a quarter of the context."""
    return min(max_tokens or DEFAULT_MAX_TOKENS, context_tokens // 4)


def _plain_tokens(message: Mapping[str, str]) -> float:
    num_bytes = len(message["content"].encode("utf-8", "replace"))
    return num_bytes / _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE
