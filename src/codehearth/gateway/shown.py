"""What of a repository a chat is shown: chunks that fit the question, below the question itself.

Of the model's context at most a quarter is given to them, and only what the conversation leaves.
Which lines they are stands in the header `x-hearth-snippets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from codehearth.gateway.engine.upstream import chat_body
from codehearth.pool.child import ModelFacts
from codehearth.repo.context import Found, packed
from codehearth.text.attachments import with_files
from codehearth.wire.requests import ChatRequest

MAX_CHARACTERS = 12_000
_CHARACTERS_PER_TOKEN = 3
_ANSWER_TOKENS = 512


class Shown:
    """A chat request with what was found for it; what of it fits is known with the model."""

    def __init__(self, asked: ChatRequest, found: Sequence[Found]) -> None:
        self._asked = asked
        self._found = found
        self._chosen: tuple[Found, ...] = ()

    def body(self, facts: ModelFacts, *, choice: int) -> dict[str, Any]:
        """The engine's request."""
        taken = sum(len(message.text) for message in self._asked.messages)
        answer = min(self._asked.max_new_tokens or _ANSWER_TOKENS, facts.context_tokens // 4)
        self._chosen = packed(
            self._found, max_characters=room(facts.context_tokens - answer, taken=taken)
        )
        return chat_body(with_found(self._asked, self._chosen), facts, choice=choice)

    def headers(self) -> Mapping[str, str]:
        return told(self._chosen)


def question_of(asked: ChatRequest) -> str:
    """What the user said last: by that a repository is searched."""
    return next((one.text for one in reversed(asked.messages) if one.role == "user"), "")


def room(context_tokens: int, *, taken: int = 0) -> int:
    """How many characters of a repository are shown where `taken` are there already."""
    context = context_tokens * _CHARACTERS_PER_TOKEN
    return max(0, min(MAX_CHARACTERS, context // 4, context - taken))


def with_found(asked: ChatRequest, chosen: Sequence[Found]) -> ChatRequest:
    """The request with the files below the user's last message."""
    if not chosen:
        return asked
    at = max(n for n, message in enumerate(asked.messages) if message.role == "user")
    message = asked.messages[at]
    content = with_files(message.text, ((one.place, one.text) for one in chosen))
    messages = [*asked.messages]
    messages[at] = message.model_copy(update={"content": content})
    return asked.model_copy(update={"messages": messages})


def told(chosen: Sequence[Found]) -> Mapping[str, str]:
    """The header that names what was shown; paths are percent-encoded, commas too."""
    if not chosen:
        return {}
    return {"x-hearth-snippets": ", ".join(quote(one.place, safe="/:") for one in chosen)}
