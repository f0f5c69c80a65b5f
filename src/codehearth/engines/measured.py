"""Which of several engines is the fastest, by what was measured on this machine. Pure.

A measurement counts more than the rules of `engines`, where it compares: two engines that could
take the model must have been measured with it, and one of them the one that the rules prefer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# An answer as people ask for them; the engine that writes it first is the fastest.
ANSWER_TOKENS = 128
# Less than this is noise: then the rules' choice stays.
_CLEARLY = 1.05


@dataclass(frozen=True)
class Speed:
    """Of one request alone: seconds to its first token, and tokens/s from then on.

    `left_gpus_idle`: the processor computed, on a machine that has GPUs.
    """

    ttft_s: float
    decode_tokens_per_s: float
    measured_on: str = ""
    left_gpus_idle: bool = False

    @property
    def answer_s(self) -> float:
        return self.ttft_s + ANSWER_TOKENS / max(self.decode_tokens_per_s, 1e-9)


def fastest(usable: Sequence[str], speeds: Mapping[str, Speed]) -> tuple[str, str] | None:
    """The engine that answers first and why it is taken; None where the rules must decide.

    `usable` are the engines that can take the model, the one that the rules prefer first.
    """
    known = [name for name in usable if name in speeds]
    if len(known) < 2 or known[0] != usable[0]:
        return None
    preferred = usable[0]
    best = min(known, key=lambda name: speeds[name].answer_s)
    if speeds[preferred].answer_s < _CLEARLY * speeds[best].answer_s:
        best = preferred
    others = [name for name in known if name != best]
    second = min(others, key=lambda name: speeds[name].answer_s)
    when = f" on {speeds[best].measured_on}" if speeds[best].measured_on else ""
    return best, (
        f"engine {best}: measured here{when}, an answer of {ANSWER_TOKENS} tokens takes "
        f"{speeds[best].answer_s:.2g} s, and {speeds[second].answer_s:.2g} s with {second}"
    )
