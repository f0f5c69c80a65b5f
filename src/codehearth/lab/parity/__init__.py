"""Do two engines, precisions or versions of a model give the same answers? See `judging`.

`compare` starts each side as the real child, one after the other, and looks at both. Answers that
were written down earlier, as a training's are, cannot be led: `lab.tuning.parity` compares those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from codehearth.lab.parity.judging import Finding, Parity, PromptParity, judge
from codehearth.lab.parity.observation import Observation
from codehearth.lab.parity.observing import Side, observe
from codehearth.lab.parity.prompts import Prompt, prompts_for

__all__ = ["Finding", "Parity", "PromptParity", "Side", "compare", "compare_all"]


def compare(
    reference: Side, other: Side, *, step: Callable[[str], None] = lambda _: None
) -> Parity:
    """`other` held against `reference`. Only one of them is in memory at a time.

    Raises EngineFailed, with the child's last lines, where one does not start or breaks off.
    """
    return compare_all(reference, (other,), step=step)[0]


def compare_all(
    reference: Side, others: Sequence[Side], *, step: Callable[[str], None] = lambda _: None
) -> tuple[Parity, ...]:
    """Each of `others` held against the same observation of `reference`."""
    return asyncio.run(_compared(reference, others, step))


async def _compared(
    reference: Side, others: Sequence[Side], step: Callable[[str], None]
) -> tuple[Parity, ...]:
    sides = (reference, *others)
    prompts = _prompts(sides)
    ends = {
        side.weights.token_ids[role]
        for side in sides
        for role in ("eos", "eot")
        if role in side.weights.token_ids
    }
    first = await observe(reference, prompts, reference=None, ends=ends, step=step)
    seen: list[Observation] = [
        await observe(side, prompts, reference=first, ends=ends, step=step) for side in others
    ]
    return tuple(judge(first, one) for one in seen)


def _prompts(sides: Sequence[Side]) -> tuple[Prompt, ...]:
    """What all sides can be asked."""
    marks = frozenset.intersection(*(side.weights.fim_marks for side in sides))
    return prompts_for(has_chat=all(side.weights.chat_template for side in sides), marks=marks)
