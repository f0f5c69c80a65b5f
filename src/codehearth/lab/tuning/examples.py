"""What a model can be taught, one example a row; pure.

A conversation, a text to go on with, or code in which a middle is to be filled in. The trainer
reads examples as JSON lines (`as_row`) and learns only what the model shall say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True)
class Chat:
    """A conversation whose last message is the assistant's; all of the assistant's are learnt."""

    messages: tuple[Message, ...]
    line: int = 0

    @property
    def question(self) -> str:
        return "\n".join(f"{one.role}: {one.content}" for one in self.messages[:-1])

    @property
    def asked(self) -> str:
        """The last question, for people."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def answer(self) -> str:
        return self.messages[-1].content

    def as_row(self) -> dict[str, Any]:
        return {"messages": [{"role": m.role, "content": m.content} for m in self.messages]}


@dataclass(frozen=True)
class Completion:
    """A plain prompt and what follows it; `is_infill` where the prompt asks for a middle."""

    prompt: str
    completion: str
    line: int = 0
    is_infill: bool = False

    @property
    def question(self) -> str:
        return self.prompt

    @property
    def asked(self) -> str:
        return self.prompt

    @property
    def answer(self) -> str:
        return self.completion

    def as_row(self) -> dict[str, Any]:
        return {"prompt": self.prompt, "completion": self.completion}


@dataclass(frozen=True)
class Code:
    """A piece of code, of which parts are cut out to be filled in (`infilling`).

    `spans` are the places to cut; where there are none, they are chosen.
    """

    text: str
    line: int = 0
    path: str = ""
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def question(self) -> str:
        return self.text

    @property
    def answer(self) -> str:
        return self.text


Example = Chat | Completion | Code
Lesson = Chat | Completion


def with_system(examples: Iterable[Example], system: str | None) -> tuple[Example, ...]:
    """Conversations that have no system prompt of their own get this one."""
    if not system:
        return tuple(examples)
    return tuple(_with_system(example, system) for example in examples)


def _with_system(example: Example, system: str) -> Example:
    if not isinstance(example, Chat) or example.messages[0].role == "system":
        return example
    return Chat((Message("system", system), *example.messages), example.line)


def digest(examples: Iterable[Lesson]) -> str:
    """The data's hash: the same for the same examples in the same order, in whatever file."""
    found = hashlib.sha256()
    for example in examples:
        line = json.dumps(example.as_row(), ensure_ascii=False, sort_keys=True)
        found.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return found.hexdigest()
