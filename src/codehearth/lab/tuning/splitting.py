"""Which examples are learnt and which are held out to see what was learnt; pure.

Examples that ask the same are one group, and a group is never on both sides: a loss on a question
that was learnt word for word says nothing. Of a group that is held out, one of each answer stays.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from codehearth.lab.tuning.examples import Lesson

MIN_GROUPS = 5


@dataclass(frozen=True)
class Split:
    """`num_rows` examples with `num_groups` different questions; `why` is told where nothing could
    be held out."""

    training: tuple[Lesson, ...]
    held_out: tuple[Lesson, ...]
    num_rows: int
    num_groups: int
    num_repeated: int
    why: str = ""


def split(examples: Sequence[Lesson], share: float, *, seed: int) -> Split:
    """About `share` of the different questions held out, at least one where there are five."""
    groups: dict[str, list[Lesson]] = {}
    for example in examples:
        groups.setdefault(_key(example.question), []).append(example)
    num_repeated = len(examples) - sum(len(_distinct(group)) for group in groups.values())
    if share <= 0:
        why = "none was asked for"
        return Split(tuple(examples), (), len(examples), len(groups), num_repeated, why)
    if len(groups) < MIN_GROUPS:
        why = f"{len(groups)} different questions are too few"
        return Split(tuple(examples), (), len(examples), len(groups), num_repeated, why)
    names = sorted(groups)
    random.Random(seed).shuffle(names)  # noqa: S311
    chosen = set(names[: max(1, round(share * len(names)))])
    return Split(
        training=tuple(one for one in examples if _key(one.question) not in chosen),
        held_out=tuple(one for name in names if name in chosen for one in _distinct(groups[name])),
        num_rows=len(examples),
        num_groups=len(groups),
        num_repeated=num_repeated,
    )


def _distinct(group: Sequence[Lesson]) -> list[Lesson]:
    return list({example.answer.strip(): example for example in group}.values())


def _key(question: str) -> str:
    """What two spellings of one question have in common: no blanks at its ends, no case."""
    return re.sub(r"\s+", " ", question).strip().rstrip("?？.。!！").casefold()
