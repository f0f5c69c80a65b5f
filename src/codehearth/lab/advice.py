"""Which precision, context and threads to use here, for chat and for typing; pure.

From measured figures where there are some, else from typical ones, and then it says so. The rules:

Chat
1. What does not fit into the memory is out.
2. Of those that write faster than people read: the fastest of those that hardly differ from the
   reference; if none is that close, the one that differs least.
3. If all are slower than that, the fastest that still says mostly the same.

Typing (completion while the user types)
1. What does not fit is out, and what says another token too often.
2. The one whose short completion is there first; those within a tenth of it count as equally fast,
   and of them the one that differs least is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from codehearth.lab.result import Precision

Purpose = Literal["chat", "typing"]

# Tokens per second: five words a second, as fast as people read code.
READING_PACE = 12.0
# Nats: below this nobody sees a difference; above the second it is another model.
HARDLY_DIFFERENT, MOSTLY_THE_SAME = 0.01, 0.1
LEAST_AGREEMENT = 0.9
COMPLETION_TOKENS = 24
TYPING_CONTEXT_TOKENS = 4096
_AS_FAST = 1.1

# Mean KL divergence and agreement of the likeliest token as they typically are, from bf16; rough,
# and larger for very small models.
TYPICAL_LOSS: dict[str, tuple[float, float]] = {
    "q8_0": (0.0005, 0.99),
    "q6_k": (0.002, 0.98),
    "q5_k_m": (0.006, 0.97),
    "q4_k_m": (0.02, 0.95),
    "q3_k_m": (0.08, 0.9),
    "q2_k": (0.3, 0.8),
}


@dataclass(frozen=True)
class Option:
    """One precision with what is known of it; `context_tokens` is what fits, 0 if nothing."""

    precision: str
    kl: float
    agreement: float
    decode_tokens_per_s: float
    ttft_s: float
    num_bytes: int
    context_tokens: int

    @property
    def completion_s(self) -> float:
        return self.ttft_s + COMPLETION_TOKENS / self.decode_tokens_per_s


@dataclass(frozen=True)
class Advice:
    """`is_measured` false: predicted from typical figures."""

    purpose: Purpose
    precision: str
    context_tokens: int
    num_threads: int
    reason: str
    is_measured: bool

    def as_document(self) -> dict[str, Any]:
        return asdict(self)


def measured_option(one: Precision, context_tokens: int, *, is_noisy: bool) -> Option | None:
    """None for a precision whose speed is not known. Where other programs had the machine its best
    speed counts: they can only have made it slower."""
    alone = one.at(1)
    if alone is None:
        return None
    speed = alone.decode_tokens_per_s
    kl, agreement = one.loss.kl, one.loss.top_1_agreement
    return Option(
        precision=one.precision,
        kl=kl.mean.value if kl else 0.0,
        agreement=agreement.value if agreement else 1.0,
        decode_tokens_per_s=speed.max if is_noisy else speed.median,
        ttft_s=one.ttft_s.min if is_noisy else one.ttft_s.median,
        num_bytes=one.file.num_bytes,
        context_tokens=context_tokens,
    )


def advise(
    options: Sequence[Option], *, num_threads: int, reference: str, is_measured: bool
) -> tuple[Advice, ...]:
    """Advice for both purposes; none where nothing fits."""
    fitting = [option for option in options if option.context_tokens > 0]
    if not fitting:
        return ()
    chat, why_chat = _for_chat(fitting, reference)
    typing, why_typing = _for_typing(fitting, reference)
    context = min(typing.context_tokens, TYPING_CONTEXT_TOKENS)
    return (
        Advice("chat", chat.precision, chat.context_tokens, num_threads, why_chat, is_measured),
        Advice("typing", typing.precision, context, num_threads, why_typing, is_measured),
    )


def _for_chat(options: Sequence[Option], reference: str) -> tuple[Option, str]:
    quick = [one for one in options if one.decode_tokens_per_s >= READING_PACE]
    close = [one for one in quick if one.kl <= HARDLY_DIFFERENT]
    if close:
        best = max(close, key=lambda one: (one.decode_tokens_per_s, -one.kl))
        if best.precision == reference:
            return best, (
                f"it is the model as it is here, and none that hardly differs from it is faster "
                f"({_pace(best)})"
            )
        return best, (
            f"it is the fastest ({_pace(best)}) of those that hardly differ from {reference} "
            f"(mean divergence {best.kl:.4f} nats)"
        )
    if quick:
        best = min(quick, key=lambda one: one.kl)
        return best, (
            f"it differs least from {reference} (mean divergence {best.kl:.3f} nats) of those that "
            f"write as fast as one reads ({_pace(best)})"
        )
    same = [one for one in options if one.kl <= MOSTLY_THE_SAME] or list(options)
    best = max(same, key=lambda one: one.decode_tokens_per_s)
    return best, (
        f"none writes as fast as one reads; it is the fastest ({_pace(best)}) that still says "
        f"mostly the same (mean divergence {best.kl:.3f} nats)"
    )


def _for_typing(options: Sequence[Option], reference: str) -> tuple[Option, str]:
    good = [one for one in options if one.agreement >= LEAST_AGREEMENT] or [
        max(options, key=lambda one: one.agreement)
    ]
    fastest = min(one.completion_s for one in good)
    quick = [one for one in good if one.completion_s <= _AS_FAST * fastest]
    best = min(quick, key=lambda one: one.kl)
    return best, (
        f"a completion of {COMPLETION_TOKENS} tokens takes {1000 * best.completion_s:.0f} ms, and "
        f"{100 * best.agreement:.0f} % of its tokens are {reference}'s"
    )


def _pace(option: Option) -> str:
    return f"{option.decode_tokens_per_s:.0f} tokens/s"
