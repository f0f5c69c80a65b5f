"""Whether two forms of one model answer alike: prompt's tokens, greedy text, likelihoods; pure.

The reference is the base model with the trained adapter beside it. Its other forms round numbers
otherwise, so likelihoods differ a little; and where two tokens were almost equally likely, a little
is enough for the other one. That is told from a form that is wrong:

1. The tokens of every prompt are the same.
2. Up to the first token that differs, log-probabilities differ by less than the bound.
3. Where a token differs, the reference's two likeliest were no further apart than twice the bound.

`lab.parity` is another thing: it leads two running engines along the same tokens; here the
reference is what the trainer wrote down, in an environment that serves nothing and leads nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

# In nats. The starter, 12 probes: merged checkpoint up to 0.01, GGUF f16 0.01, adapter on Q8_0
# 0.08; a random model, which is sure of nothing: GGUF f16 0.22.
BOUNDS: Mapping[str, float] = {"f32": 0.1, "f16": 0.3, "bf16": 0.3, "q8_0": 0.6}
_LOSSY_BOUND = 2.0  # a quantised base under an adapter: only gross errors show


@dataclass(frozen=True)
class Answer:
    """`logprobs` are of the answer's tokens, None where one was not told; `gaps`: how far the
    second likeliest token was from the likeliest, where that is known."""

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    answer: str
    logprobs: tuple[float | None, ...]
    gaps: tuple[float, ...] = ()


@dataclass(frozen=True)
class Parity:
    """How a form compares with the reference; `problem` is empty where they agree."""

    form: str
    num_probes: int
    num_same_prompts: int
    num_same_answers: int
    num_near_ties: int
    largest_difference: float
    mean_difference: float
    bound: float
    problem: str = ""

    @property
    def agrees(self) -> bool:
        return not self.problem

    def as_document(self) -> dict[str, Any]:
        return {**asdict(self), "agrees": self.agrees}


def answer_of(document: Mapping[str, Any]) -> Answer:
    """An answer as the trainer writes it."""
    return Answer(
        tuple(document["prompt_ids"]),
        tuple(document["answer_ids"]),
        str(document["answer"]),
        tuple(document["logprobs"]),
        tuple(document["gaps"]),
    )


def bound_for(precision: str) -> float:
    return BOUNDS.get(precision.lower(), _LOSSY_BOUND)


def compare(
    form: str, reference: Sequence[Answer], other: Sequence[Answer], *, bound: float
) -> Parity:
    """Both were asked the same, in the same order."""
    differences: list[float] = []
    same_prompts = same_answers = near_ties = 0
    problem = ""
    for number, (ours, theirs) in enumerate(zip(reference, other, strict=True), start=1):
        if ours.prompt_ids != theirs.prompt_ids:
            problem = problem or f"the prompt of probe {number} becomes other tokens"
            continue
        same_prompts += 1
        at = parting(ours.answer_ids, theirs.answer_ids)
        pairs = zip(ours.logprobs[:at], theirs.logprobs[:at], strict=False)
        differences += [abs(a - b) for a, b in pairs if a is not None and b is not None]
        if at is None:
            same_answers += 1
        elif at < len(ours.gaps) and ours.gaps[at] <= 2 * bound:
            near_ties += 1
        else:
            problem = problem or f"the answer to probe {number} parts at token {at + 1}"
    largest = max(differences, default=0.0)
    if largest > bound:
        problem = problem or f"log-probabilities differ by {largest:.3f}, allowed is {bound:g}"
    return Parity(
        form=form,
        num_probes=len(reference),
        num_same_prompts=same_prompts,
        num_same_answers=same_answers,
        num_near_ties=near_ties,
        largest_difference=largest,
        mean_difference=sum(differences) / len(differences) if differences else 0.0,
        bound=bound,
        problem=problem,
    )


def parting(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """Where two answers part; None where they are the same.

    An end that only one of them wrote down is no difference.
    """
    for at, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            return at
    return None if abs(len(ours) - len(theirs)) <= 1 else min(len(ours), len(theirs))
