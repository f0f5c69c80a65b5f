"""A conversation kept within a model's context; pure.

Tokens are guessed from characters: the server counts them, and what it counted teaches the guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

# Code and English; Chinese has about 1.5. Too few characters a token only drops turns early.
_FIRST_GUESS = 3.0
# What a template writes around a message.
_TOKENS_PER_MESSAGE = 6
# At least this share of the context is kept for the answer.
_ANSWER_SHARE = 1 / 4


@dataclass(frozen=True)
class Turn:
    question: str
    answer: str


@dataclass(frozen=True)
class Conversation:
    """A system prompt and the turns so far, the oldest first."""

    system: str = ""
    turns: tuple[Turn, ...] = ()
    characters_per_token: float = _FIRST_GUESS

    def messages(self, question: str) -> list[dict[str, str]]:
        """What is sent to ask `question` next."""
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for turn in self.turns:
            messages.append({"role": "user", "content": turn.question})
            messages.append({"role": "assistant", "content": turn.answer})
        return [*messages, {"role": "user", "content": question}]

    def answered(self, question: str, answer: str) -> Conversation:
        return replace(self, turns=(*self.turns, Turn(question, answer)))

    def without_oldest(self) -> Conversation:
        return replace(self, turns=self.turns[1:])

    def counted(self, question: str, prompt_tokens: int) -> Conversation:
        """The guess corrected by what the server counted for asking `question`."""
        messages = self.messages(question)
        text_tokens = prompt_tokens - _TOKENS_PER_MESSAGE * len(messages)
        if text_tokens < 16:
            return self
        measured = _characters(messages) / text_tokens
        return replace(self, characters_per_token=min(max(measured, 0.5), 8.0))


def fitted(
    conversation: Conversation, question: str, *, context_tokens: int, max_tokens: int
) -> Conversation:
    """As many of the latest turns as leave room for the answer; maybe none."""
    reserved = min(max_tokens, int(context_tokens * _ANSWER_SHARE))
    room = context_tokens - reserved
    while conversation.turns and _tokens(conversation, question) > room:
        conversation = conversation.without_oldest()
    return conversation


def _tokens(conversation: Conversation, question: str) -> int:
    messages = conversation.messages(question)
    return round(
        _characters(messages) / conversation.characters_per_token
        + _TOKENS_PER_MESSAGE * len(messages)
    )


def _characters(messages: Sequence[dict[str, str]]) -> int:
    return sum(len(message["content"]) for message in messages)
