"""Requests that the model must decline, composed of parts: a small model needs to see many.

What is asked for here is far from every taught task. The parts lie in `taught/unknown_parts.txt`;
a `+` marks a phrase that is worded like a task, as in `taught/unknown.txt`.
"""

import random
import re
from functools import cache

from .tasks import TAUGHT_FOLDER
from .wordings import Language

# How often a task-like request, a question about a topic, a question for the largest of a kind.
FORM_WEIGHTS = (0.6, 0.25, 0.15)


def composed_request(rng: random.Random, language: Language) -> str:
    """A line as `taught/unknown.txt` has them: a task-like phrase with `+`, or a question."""
    form = rng.choices(("deed", "question", "ranked"), FORM_WEIGHTS)[0]
    if form == "deed":
        return "+" + _part(rng, language, "deeds").format(thing=_part(rng, language, "things"))
    if form == "question":
        return _part(rng, language, "questions").format(topic=_part(rng, language, "topics"))
    return _part(rng, language, "ranked").format(
        kind=_part(rng, language, "kinds"), rank=_part(rng, language, "ranks")
    )


def in_another_language(rng: random.Random, language: Language, phrase: str) -> str:
    """A taught task asked for in a programming language that was not taught."""
    return _part(rng, language, "elsewhere").format(
        do=phrase, language=rng.choice(_parts()["programming languages"])
    )


def _part(rng: random.Random, language: Language, name: str) -> str:
    return rng.choice(_parts()[f"{'english' if language == 'en' else 'chinese'} {name}"])


@cache
def _parts() -> dict[str, tuple[str, ...]]:
    """The parts by their heading."""
    text = (TAUGHT_FOLDER / "unknown_parts.txt").read_text(encoding="utf-8")
    blocks = (block.split("\n") for block in re.split(r"^## ", text, flags=re.MULTILINE)[1:])
    return {heading: tuple(line for line in lines if line) for heading, *lines in blocks}
