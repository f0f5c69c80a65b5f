"""What a model is asked, and how its answer is judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from codehearth.lab.judging.cases import LANGUAGES, Case

Mode = Literal["chat", "completion"]


@dataclass(frozen=True)
class Task:
    """A function or a program to be written.

    `head` is the beginning that a base model goes on from; `ask` what a chat model is told. Judged
    by `tests` (Python, with HumanEval's `check` where there is an `entry`) or by `cases`.
    """

    name: str
    language: str
    ask: str
    head: str = ""
    entry: str | None = None
    tests: str = ""
    cases: tuple[Case, ...] = ()


@dataclass(frozen=True)
class Gap:
    """A place in a file from which `middle` was taken."""

    name: str
    language: str
    prefix: str
    middle: str
    suffix: str


@dataclass(frozen=True)
class Suite:
    """Tasks, or gaps to be filled; `left_out` says what of it cannot be judged here, and why."""

    name: str
    title: str
    items: tuple[Task, ...] | tuple[Gap, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        told = json.dumps([asdict(item) for item in self.items], ensure_ascii=False)
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def is_fim(self) -> bool:
        return bool(self.items) and isinstance(self.items[0], Gap)


def question_of(task: Task) -> str:
    """What a chat model is asked."""
    title = LANGUAGES[task.language].title
    if task.cases:
        return f"{task.ask} Answer with one code block."
    return (
        f"Complete this {title} function. Answer with the whole function in one code block.\n\n"
        f"```{task.language}\n{task.head.rstrip()}\n```"
    )
