"""Chooses context, slots and GPU layers for a model on a machine, and says why.

Pure: the machine is an argument. What was asked for is done or refused, never silently less.
"""

from __future__ import annotations

from dataclasses import dataclass

from codehearth.errors import DoesNotFit
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.memory import Footprint, predict

MAX_WISHED_CONTEXT_TOKENS = 32768
MIN_CONTEXT_TOKENS = 2048
WISHED_SLOTS = 4


@dataclass(frozen=True)
class Plan:
    """How to start a model; `why` holds each automatic choice with its reason.

    `context_tokens` is for each slot.
    """

    context_tokens: int
    num_slots: int
    gpu_layers: int
    footprint: Footprint
    why: tuple[str, ...]


def plan(
    weights: Weights,
    hardware: Hardware,
    *,
    context_tokens: int | None = None,
    num_slots: int | None = None,
    budget_bytes: int | None = None,
) -> Plan:
    """The best that fits `budget_bytes` (unless given, what is free now); raises DoesNotFit."""
    budget = hardware.free_bytes if budget_bytes is None else budget_bytes
    slots = num_slots or WISHED_SLOTS
    context = context_tokens or min(weights.context_tokens, MAX_WISHED_CONTEXT_TOKENS)
    while True:
        footprint = predict(weights, context_tokens=context, num_slots=slots)
        if footprint.total_bytes <= budget:
            return Plan(context, slots, 0, footprint, (f"context {context}: it fits",))
        if context_tokens is None and context > MIN_CONTEXT_TOKENS:
            context //= 2
        elif num_slots is None and slots > 1:
            slots //= 2
        else:
            break
    raise DoesNotFit(
        f"The model needs {footprint.total_bytes} bytes and {budget} are free.",
        needed_bytes=footprint.total_bytes,
        free_bytes=budget,
    )
