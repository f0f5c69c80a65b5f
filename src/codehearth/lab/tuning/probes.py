"""What a model is asked: to compare its forms, to see what it learnt, and to rehearse; pure."""

from __future__ import annotations

from typing import Any

from codehearth.lab.tuning.examples import Chat, Lesson
from codehearth.lab.tuning.preparing import Prepared
from codehearth.lab.tuning.rehearsal import questions

NUM_QUESTIONS = 24
NUM_PROBE_TOKENS = 32
NUM_ANSWER_TOKENS = 64
_NUM_OWN_PROBES = 6
_CODE_PROBES = (
    "def fibonacci(n):\n",
    "import os\n\n\ndef read_lines(path):\n",
    "class Stack:\n    def __init__(self):\n",
)
_CHAT_PROBES = ("Write a function that reverses a string", "写一个函数，反转一个字符串", "hello")


def questions_of(prepared: Prepared) -> list[dict[str, Any]]:
    """Held-out questions that are asked before and after, as the trainer reads them."""
    return [_asking(one) for one in prepared.split.held_out[:NUM_QUESTIONS]]


def probes_of(prepared: Prepared, *, has_template: bool) -> list[dict[str, Any]]:
    """What the forms of the model are compared on: its own lessons and what it knew before.

    `bare` is a conversation without the system prompt of the training, which the tuned model's
    template brings itself.
    """
    own: dict[str, dict[str, Any]] = {}
    for lesson in (*prepared.split.held_out, *prepared.split.training):
        own.setdefault(lesson.question, _probe(lesson, prepared.asked.system))
    probes = list(own.values())[:_NUM_OWN_PROBES]
    if has_template:
        system = prepared.asked.system
        before = [{"role": "system", "content": system}] if system else []
        for question in _CHAT_PROBES:
            user = {"role": "user", "content": question}
            probes.append({"messages": [*before, user], "bare": [user]})
    return [*probes, *({"prompt": prompt} for prompt in _CODE_PROBES)]


def rehearsal_of(prepared: Prepared, *, has_template: bool) -> list[dict[str, Any]]:
    """Questions whose answers the base gives itself, as the trainer reads them.

    `bare` is what the base is asked, `messages` what the tuned model will be.
    """
    count = round(prepared.hyperparameters.rehearsal * len(prepared.split.training))
    if not has_template:
        return []
    system = prepared.asked.system
    before = [{"role": "system", "content": system}] if system else []
    users = ({"role": "user", "content": text} for text in questions(count, prepared.asked.seed))
    return [{"bare": [user], "messages": [*before, user]} for user in users]


def _probe(lesson: Lesson, system: str | None) -> dict[str, Any]:
    asking = _asking(lesson)
    messages = asking.get("messages", ())
    if system and messages and messages[0] == {"role": "system", "content": system}:
        return {**asking, "bare": messages[1:]}
    return asking


def _asking(lesson: Lesson) -> dict[str, Any]:
    if not isinstance(lesson, Chat):
        return {"prompt": lesson.prompt}
    return {"messages": lesson.as_row()["messages"][:-1]}
