"""What a conversation is: a tree of messages, as plain frozen records.

How they are stored is `conversations`; what is sent to a model is chosen by
`gateway/page/history.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["user", "assistant"]
State = Literal["streaming", "done", "stopped", "interrupted", "failed"]
"""interrupted: the server or the engine went away in mid-answer; what came is kept."""

MAX_CONVERSATIONS = 5000
MAX_MESSAGES = 4096


@dataclass(frozen=True)
class Attachment:
    """A text file that was sent along with a message."""

    name: str
    text: str


@dataclass(frozen=True)
class NewMessage:
    """A message that is not in the records yet; `state` is `streaming` for an answer to come."""

    role: Role
    content: str
    attachments: Sequence[Attachment] = ()
    model: str | None = None
    state: State = "done"
    reasoning: str = ""
    error: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] | None = None
    created_at: float | None = None


@dataclass(frozen=True)
class Message:
    """One message of a tree. Times are seconds since 1970.

    `error` is the object inside OpenAI's envelope; `figures` are an answer's tokens and speed.
    """

    id: str
    parent_id: str | None
    role: Role
    content: str
    reasoning: str
    attachments: tuple[Attachment, ...]
    model: str | None
    state: State
    error: Mapping[str, Any] | None
    figures: Mapping[str, Any] | None
    created_at: float
    updated_at: float


@dataclass(frozen=True)
class Conversation:
    """What is known of a conversation without its messages.

    `is_titled` where somebody gave the title; else it is made of the first message. `leaf_id` is
    the end of the branch that is shown. `max_turns` bounds how many of the user's turns go back
    to the model; None for as many as its context holds.
    """

    id: str
    title: str
    is_titled: bool
    model: str | None
    system_prompt: str
    parameters: Mapping[str, Any]
    max_turns: int | None
    leaf_id: str | None
    num_messages: int
    created_at: float
    updated_at: float


@dataclass(frozen=True)
class Found:
    """A conversation that a search found, and the message that the words stand in, if it is one."""

    conversation: Conversation
    message_id: str | None
    snippet: str


@dataclass(frozen=True)
class Imported:
    """A conversation from elsewhere: its parts, and each message with its place in the tree.

    `places` pairs each message with the number of its parent in the same sequence; a parent comes
    before its children. `leaf` is the number of the message at the end of the shown branch.
    """

    title: str
    is_titled: bool
    model: str | None
    system_prompt: str
    parameters: Mapping[str, Any]
    max_turns: int | None
    created_at: float
    updated_at: float
    places: Sequence[tuple[NewMessage, int | None]] = field(default_factory=tuple)
    leaf: int | None = None
