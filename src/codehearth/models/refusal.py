"""Says why a model does not fit, with both numbers, and what would."""

from __future__ import annotations

from collections.abc import Callable

from codehearth.errors import DoesNotFit
from codehearth.models.estimate import at_precision
from codehearth.models.facts import Weights
from codehearth.models.memory import Footprint, predict
from codehearth.models.precisions import BITS_PER_WEIGHT
from codehearth.models.words import in_bytes, in_slots

# What is proposed instead, best first. Below three bits models of these sizes write bad code.
_SMALLER = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m")
_USEFUL_CONTEXT_TOKENS = 2048
_SMALLEST_CONTEXT_TOKENS = 512


def refusal(
    weights: Weights,
    footprint: Footprint,
    *,
    context_tokens: int,
    num_slots: int,
    free_bytes: int,
    fits: Callable[[int, int], bool],
    gpu_free_bytes: int = 0,
) -> DoesNotFit:
    """The error for a model that needs `footprint`; `fits` tells of a context and a slot count."""
    if footprint.gpu_bytes > gpu_free_bytes:
        return DoesNotFit(
            f"The layers asked for need {in_bytes(footprint.gpu_bytes)} of GPU memory, "
            f"and {in_bytes(gpu_free_bytes)} are free.",
            needed_bytes=footprint.gpu_bytes,
            free_bytes=gpu_free_bytes,
            hint="ask for fewer GPU layers, or leave their number to us",
        )
    parts = ", ".join(f"{name} {in_bytes(size)}" for name, size in footprint.parts)
    return DoesNotFit(
        f"The model needs {in_bytes(footprint.host_bytes)} with a context of {context_tokens} "
        f"tokens in {in_slots(num_slots)} ({parts}), and {in_bytes(free_bytes)} are free.",
        needed_bytes=footprint.host_bytes,
        free_bytes=free_bytes,
        hint=_hint(weights, context_tokens, num_slots, free_bytes, fits),
    )


def _hint(
    weights: Weights,
    context_tokens: int,
    num_slots: int,
    free_bytes: int,
    fits: Callable[[int, int], bool],
) -> str:
    """What would fit, the smallest change first: less context, fewer slots, fewer bits."""
    for least in (_USEFUL_CONTEXT_TOKENS, _SMALLEST_CONTEXT_TOKENS):
        for slots in dict.fromkeys((num_slots, 1)):
            most = context_tokens if slots == num_slots else 2 * context_tokens
            context = _smaller_context(most, slots, fits, least=least)
            if context is not None:
                return f"a context of {context} tokens in {in_slots(slots)} fits"
        if least == _USEFUL_CONTEXT_TOKENS:
            lower = _lower_precision(weights, min(context_tokens, least), free_bytes)
            if lower is not None:
                return f"take a smaller precision: {lower}"
    return "take a model with fewer parameters, or stop what holds memory (`hearth ps`)"


def _smaller_context(
    context_tokens: int, num_slots: int, fits: Callable[[int, int], bool], *, least: int
) -> int | None:
    """The first that fits on the way down by halves."""
    context = context_tokens // 2
    while context >= least:
        if fits(context, num_slots):
            return context
        context //= 2
    return None


def _lower_precision(weights: Weights, context_tokens: int, free_bytes: int) -> str | None:
    for precision in _SMALLER:
        if BITS_PER_WEIGHT[precision] >= weights.bits_per_weight - 0.1:
            continue
        lower = at_precision(weights, precision)
        needed = predict(lower, context_tokens=context_tokens, num_slots=1, mapped=False)
        if needed.total_bytes <= free_bytes:
            return f"{precision} needs about {in_bytes(needed.total_bytes)}"
    return None
