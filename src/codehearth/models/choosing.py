"""Which precision of a model to take on this machine; pure.

Decoding reads every weight for every token, so fewer bits are faster as well as smaller. What
they cost in quality is little down to four bits for large models and more for small ones. So:

1. On GPUs that hold all of it: the most bits, up to eight (more cannot be told apart).
2. Else, for a model below two billion parameters: the most bits up to eight.
3. Else: the most bits up to five (`q4_k_m` where there is one).
4. Where none of these fits with a comfortable context, the next smaller, and so on down.
5. Where all are smaller or larger than wished: the nearest that fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codehearth.errors import DoesNotFit
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.planning import COMFORTABLE_CONTEXT_TOKENS, Plan, plan

_MOST_BITS = 8.9
_MOST_BITS_ON_CPU = 5.3
_SMALL_MODEL_PARAMETERS = 2_000_000_000


@dataclass(frozen=True)
class Choice:
    """One precision with its plan; `why` begins with the reason for the precision."""

    precision: str
    weights: Weights
    plan: Plan
    why: tuple[str, ...]


def choose_precision(
    options: Iterable[Weights],
    hardware: Hardware,
    *,
    context_tokens: int | None = None,
    num_slots: int | None = None,
    budget_bytes: int | None = None,
) -> Choice:
    """The best of `options`, the same model at several precisions; raises DoesNotFit.

    Options may be estimates (`estimate.estimated_weights`). Their order does not matter.
    """
    ordered = sorted(options, key=lambda one: one.bits_per_weight, reverse=True)
    if not ordered:
        raise ValueError("no precisions to choose from")
    plans = _plans(
        ordered,
        hardware,
        context_tokens=context_tokens,
        num_slots=num_slots,
        budget_bytes=budget_bytes,
    )
    if not plans:
        # The smallest one's refusal has the numbers that are nearest to fitting.
        plan(
            ordered[-1],
            hardware,
            context_tokens=context_tokens,
            num_slots=num_slots,
            budget_bytes=budget_bytes,
        )
    comfortable = [pair for pair in plans if _is_comfortable(*pair, context_tokens)] or plans
    weights, chosen = _preferred(comfortable)
    return Choice(
        precision=weights.precision,
        weights=weights,
        plan=chosen,
        why=(_reason(weights, ordered, chosen), *chosen.why),
    )


def _plans(
    options: Sequence[Weights],
    hardware: Hardware,
    *,
    context_tokens: int | None,
    num_slots: int | None,
    budget_bytes: int | None,
) -> list[tuple[Weights, Plan]]:
    """Those that fit with their plans, in the order of `options`."""
    found = []
    for weights in options:
        try:
            chosen = plan(
                weights,
                hardware,
                context_tokens=context_tokens,
                num_slots=num_slots,
                budget_bytes=budget_bytes,
            )
        except DoesNotFit:
            continue
        found.append((weights, chosen))
    return found


def _is_comfortable(weights: Weights, chosen: Plan, context_tokens: int | None) -> bool:
    wished = context_tokens or min(weights.context_tokens, COMFORTABLE_CONTEXT_TOKENS)
    return chosen.context_tokens >= wished


def _preferred(plans: Sequence[tuple[Weights, Plan]]) -> tuple[Weights, Plan]:
    """By the rules at the top; `plans` go from many bits to few."""
    for weights, chosen in plans:
        if weights.bits_per_weight <= _MOST_BITS and _is_on_gpu(weights, chosen):
            return weights, chosen
    for weights, chosen in plans:
        if weights.bits_per_weight <= _wished_bits(weights):
            return weights, chosen
    return plans[-1]


def _wished_bits(weights: Weights) -> float:
    is_small = weights.num_parameters < _SMALL_MODEL_PARAMETERS
    return _MOST_BITS if is_small else _MOST_BITS_ON_CPU


def _is_on_gpu(weights: Weights, chosen: Plan) -> bool:
    return chosen.gpu_layers > weights.num_layers


def _reason(weights: Weights, options: Sequence[Weights], chosen: Plan) -> str:
    name = weights.precision
    if len(options) == 1:
        return f"precision {name}: the only one there is"
    if _is_on_gpu(weights, chosen):
        return f"precision {name}: the most bits, up to eight, that the GPU holds"
    larger = [one for one in options if weights.bits_per_weight < one.bits_per_weight]
    if any(one.bits_per_weight <= _wished_bits(weights) for one in larger):
        return f"precision {name}: the most bits that fit"
    if weights.num_parameters < _SMALL_MODEL_PARAMETERS:
        return f"precision {name}: small models lose much below eight bits"
    return f"precision {name}: more bits would be slower and hardly better"
