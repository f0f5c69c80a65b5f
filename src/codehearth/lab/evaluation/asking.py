"""One answer of a model, through the API that everybody else uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codehearth.client import Answer, Client
from codehearth.lab.evaluation.extraction import STOPS, code_of_chat, code_of_completion
from codehearth.lab.evaluation.tasks import Gap, Mode, Task, question_of

_GAP_TOKENS = 64


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn. Temperature 0: the likeliest, which is the same every time."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int


@dataclass(frozen=True)
class Subject:
    """A model by the name that the server knows it by, and how it is asked.

    `identity` tells weights apart that a server calls by one name, such as a file's hash.
    """

    model: str
    mode: Mode = "chat"
    identity: str = ""


def ask(
    client: Client, subject: Subject, item: Task | Gap, sampling: Sampling, index: int
) -> Answer:
    """The answer number `index`; each has a seed of its own. Raises what the client raises."""
    options: dict[str, Any] = {
        "model": subject.model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed + index,
    }
    if isinstance(item, Gap):
        return client.complete(
            item.prefix,
            suffix=item.suffix,
            max_tokens=min(_GAP_TOKENS, sampling.max_tokens),
            user=f"evaluate {item.name} {index}",  # or it would be one editor that types on
            **options,
        )
    options["max_tokens"] = sampling.max_tokens
    if subject.mode == "completion":
        stops = list(STOPS.get(item.language, ()))[:8] or None
        return client.complete(item.head, stop=stops, **options)
    return client.chat([{"role": "user", "content": question_of(item)}], **options)


def code_of(answer: str, task: Task, mode: Mode) -> str:
    """The code of an answer, as it is judged."""
    if mode == "completion":
        return code_of_completion(answer, language=task.language, head=task.head)
    head = task.head if task.tests else ""
    return code_of_chat(answer, language=task.language, entry=task.entry, head=head)
