"""What both sides are asked: the four ways in which a model is used, as small as they can be. Pure.

The same prompts for every model, so that two results can be compared; a model without a chat
template is not asked to chat, one without infilling marks not to infill.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from codehearth.text.fim import fim_format_of, render
from codehearth.text.fim_probe import probe

Kind = Literal["chat", "completion", "infilling"]

_ENGLISH = (
    ("system", "You are a helpful assistant."),
    ("user", "Write a function that reverses a string."),
)
_CHINESE = (("user", "写一个判断闰年的函数。"),)
_CODE = 'def is_prime(number):\n    """Whether a number is prime."""\n'

# The text by which the end of an answer is found in a rendered conversation.
ANSWER = "42"


@dataclass(frozen=True)
class Prompt:
    """One question. `messages` are (role, content) of a chat; the others are a text."""

    title: str
    kind: Kind
    text: str = ""
    messages: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self.kind == "chat" else "/v1/completions"

    @property
    def body(self) -> dict[str, Any]:
        """The part of a request that is the prompt."""
        return {"messages": as_messages(self.messages)} if self.messages else {"prompt": self.text}


def prompts_for(
    *, has_chat: bool, marks: Collection[str], preferred_format: str | None = None
) -> tuple[Prompt, ...]:
    """The prompts of a model with these infilling `marks` in its vocabulary."""
    found = [Prompt("completion", "completion", _CODE)]
    if has_chat:
        found[:0] = [
            Prompt("chat, English", "chat", messages=_ENGLISH),
            Prompt("chat, Chinese", "chat", messages=_CHINESE),
        ]
    format_name = fim_format_of(marks, preferred=preferred_format)
    if format_name is not None:
        found.append(Prompt("infilling", "infilling", render(format_name, probe(), marks=marks)))
    return tuple(found)


def finished_turn() -> list[dict[str, str]]:
    """A conversation that goes on after an answer: what follows the answer is the turn's end."""
    return as_messages((("user", "6 * 7?"), ("assistant", ANSWER), ("user", "Thanks.")))


def after_answer(rendered: str) -> str:
    """What a template writes behind an answer; empty where the answer is not in it."""
    return rendered.partition(f"{ANSWER}")[2]


def as_messages(messages: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in messages]
