"""Chooses context, slots and GPU layers for a model on a machine, and says why.

Pure: the machine is an argument. What was asked for is done or refused, never silently less. What
was not asked for is chosen like this:

1. With GPUs: the first of the wishes below, down to a comfortable context, with all layers on
   them; only where none fits, fewer layers.
2. Wishes, best first: four slots of as much context as the model has, at most 32768 tokens, halved
   down to a comfortable 8192; then two slots and one; then less context, not below 2048.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from codehearth.errors import InvalidRequest
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.memory import (
    DEFAULT_BATCH_TOKENS,
    Footprint,
    Predict,
    is_mapping_worth_it,
    predict,
)
from codehearth.models.refusal import refusal
from codehearth.models.words import in_bytes, in_slots

MAX_WISHED_CONTEXT_TOKENS = 32768
# An embedding model computes its whole context at once, and one made of a decoder a distribution
# over its vocabulary for every token: 2048 of them take 2.5 GB with Qwen's vocabulary.
MAX_WISHED_EMBEDDING_TOKENS = 2048
COMFORTABLE_CONTEXT_TOKENS = 8192
MIN_CONTEXT_TOKENS = 2048
WISHED_SLOTS = 4
# llama.cpp's own limit (LLAMA_MAX_SEQ).
MAX_SLOTS = 256
# Left alone where the budget is what is free: the system needs some to breathe.
RESERVED_BYTES = 256 << 20
RESERVED_GPU_BYTES = 256 << 20


@dataclass(frozen=True)
class Plan:
    """How to start a model; `why` holds each automatic choice with its reason.

    `context_tokens` is for each slot. `host_bytes` is what the model takes of the host's memory:
    all of the footprint where GPUs share it, else what is not on GPUs; `gpu_bytes` of memory that
    GPUs have for themselves. `mapped`: the weights shall
    be mapped from the file rather than read into memory; the footprint holds only when this is
    done.
    """

    context_tokens: int
    num_slots: int
    gpu_layers: int
    footprint: Footprint
    host_bytes: int
    gpu_bytes: int
    why: tuple[str, ...]
    mapped: bool = True


@dataclass(frozen=True)
class _Room:
    """What may be used: bytes on the host and on all GPUs together."""

    host_bytes: int
    gpu_bytes: int
    num_gpus: int
    is_unified: bool

    def on_host(self, footprint: Footprint) -> int:
        return footprint.total_bytes if self.is_unified else footprint.host_bytes

    def holds(self, footprint: Footprint) -> bool:
        is_on_gpus = footprint.gpu_bytes <= self.gpu_bytes
        return is_on_gpus and self.on_host(footprint) <= self.host_bytes


@dataclass(frozen=True)
class _Attempt:
    context_tokens: int
    num_slots: int
    gpu_layers: int


def plan(
    weights: Weights,
    hardware: Hardware,
    *,
    context_tokens: int | None = None,
    num_slots: int | None = None,
    gpu_layers: int | None = None,
    budget_bytes: int | None = None,
    gpu_budget_bytes: int | None = None,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    kv_type: str = "f16",
    predict_for_engine: Predict | None = None,
) -> Plan:
    """The best that fits `budget_bytes` of host memory and `gpu_budget_bytes` of all GPUs' own;
    unless given: what is free now.

    GPUs are used as far as they are free; for an engine that cannot use them, give a `hardware`
    without. Layers asked for where no GPU is known (other makers' cannot be asked what they have
    free) are passed on, and memory is planned as if they were on the host. Raises DoesNotFit with
    both numbers and what would fit, and InvalidRequest for what the model or engine cannot do at
    all. `predict_for_engine` counts the bytes of another engine than llama.cpp.
    """
    _check(weights, context_tokens, num_slots)
    room = _room(weights, hardware, budget_bytes, gpu_budget_bytes)
    counted_layers = gpu_layers if hardware.gpus else 0
    # To map or to read is llama.cpp's question; other engines have their own prediction.
    mapped = predict_for_engine is not None or is_mapping_worth_it(weights, hardware.machine)
    predict_bytes = predict_for_engine or predict

    def footprint_of(attempt: _Attempt) -> Footprint:
        return predict_bytes(
            weights,
            context_tokens=attempt.context_tokens,
            num_slots=attempt.num_slots,
            gpu_layers=attempt.gpu_layers,
            num_gpus=room.num_gpus,
            batch_tokens=batch_tokens,
            kv_type=kv_type,
            mapped=mapped,
            machine=hardware.machine,
        )

    wishes = tuple(_wishes(weights, context_tokens, num_slots))
    chosen = _first_that_fits(
        wishes,
        num_all=weights.num_layers + 1,
        gpu_layers=counted_layers,
        room=room,
        footprint_of=footprint_of,
    )
    if chosen is None:
        raise refusal(
            weights,
            footprint_of(_Attempt(*wishes[-1], counted_layers or 0)),
            context_tokens=wishes[-1][0],
            num_slots=wishes[-1][1],
            free_bytes=room.host_bytes,
            fits=lambda context, slots: room.holds(
                footprint_of(_Attempt(context, slots, counted_layers or 0))
            ),
            gpu_free_bytes=room.gpu_bytes,
        )
    why = _why(weights, chosen, room, wishes[0], context_tokens, num_slots, gpu_layers)
    footprint = footprint_of(chosen)
    return Plan(
        context_tokens=chosen.context_tokens,
        num_slots=chosen.num_slots,
        gpu_layers=chosen.gpu_layers if gpu_layers is None else gpu_layers,
        footprint=footprint,
        host_bytes=room.on_host(footprint),
        gpu_bytes=footprint.total_bytes - room.on_host(footprint),
        why=why + _why_read(weights, mapped=mapped),
        mapped=mapped,
    )


def _check(weights: Weights, context_tokens: int | None, num_slots: int | None) -> None:
    if context_tokens is not None and not 1 <= context_tokens <= weights.context_tokens:
        raise InvalidRequest(
            f"A context of {context_tokens} tokens was asked for, "
            f"and the model has {weights.context_tokens}.",
            hint=f"ask for 1 to {weights.context_tokens}, or leave the context to us",
            param="context",
        )
    if num_slots is not None and not 1 <= num_slots <= MAX_SLOTS:
        raise InvalidRequest(
            f"{in_slots(num_slots)} were asked for, and the engine has 1 to {MAX_SLOTS}.",
            param="slots",
        )


def gpu_bytes_to_plan_with(hardware: Hardware) -> int:
    """What GPUs with memory of their own have free; nothing where they share the host's."""
    own = (gpu for gpu in hardware.gpus if gpu.kind != "metal")
    return sum(max(0, gpu.free_bytes - RESERVED_GPU_BYTES) for gpu in own)


def _room(
    weights: Weights, hardware: Hardware, budget_bytes: int | None, gpu_budget_bytes: int | None
) -> _Room:
    host = hardware.free_bytes - RESERVED_BYTES if budget_bytes is None else budget_bytes
    gpus = hardware.gpus
    # Layers are not cut in two, so all but one of several GPUs stay up to a layer short.
    uneven = max(weights.bytes_by_layer, default=0) * max(0, len(gpus) - 1)
    is_unified = any(gpu.kind == "metal" for gpu in gpus)
    if is_unified or gpu_budget_bytes is None:
        free = sum(max(0, gpu.free_bytes - RESERVED_GPU_BYTES) for gpu in gpus)
    else:
        free = gpu_budget_bytes if gpus else 0
    return _Room(
        host_bytes=max(0, host),
        gpu_bytes=max(0, free - uneven),
        num_gpus=0 if is_unified else len(gpus),
        is_unified=is_unified,
    )


def _wishes(
    weights: Weights, context_tokens: int | None, num_slots: int | None
) -> Iterator[tuple[int, int]]:
    """Context and slots, best first; what was asked for is in every one."""
    slots = (num_slots,) if num_slots is not None else (WISHED_SLOTS, 2, 1)
    if context_tokens is not None:
        yield from ((context_tokens, count) for count in slots)
        return
    contexts = tuple(_wished_contexts(weights))
    comfortable = [context for context in contexts if context >= COMFORTABLE_CONTEXT_TOKENS]
    tight = [context for context in contexts if context < COMFORTABLE_CONTEXT_TOKENS]
    if not comfortable:
        comfortable, tight = tight[:1], tight[1:]
    yield from ((context, slots[0]) for context in comfortable)
    yield from ((comfortable[-1], count) for count in slots[1:])
    yield from ((context, slots[-1]) for context in tight)


def _wished_contexts(weights: Weights) -> Iterator[int]:
    most = MAX_WISHED_EMBEDDING_TOKENS if weights.is_embedding_model else MAX_WISHED_CONTEXT_TOKENS
    context = min(weights.context_tokens, most)
    yield context
    while context > MIN_CONTEXT_TOKENS:
        context = max(MIN_CONTEXT_TOKENS, context // 2 // 256 * 256)
        yield context


def _first_that_fits(
    wishes: tuple[tuple[int, int], ...],
    *,
    num_all: int,
    gpu_layers: int | None,
    room: _Room,
    footprint_of: Callable[[_Attempt], Footprint],
) -> _Attempt | None:
    def fits(attempt: _Attempt) -> bool:
        return room.holds(footprint_of(attempt))

    if gpu_layers is not None or not room.gpu_bytes:
        layers = gpu_layers or 0
        return next((a for wish in wishes if fits(a := _Attempt(*wish, layers))), None)
    floor = min(COMFORTABLE_CONTEXT_TOKENS, wishes[0][0])
    comfortable = [wish for wish in wishes if wish[0] >= floor]
    for wish in comfortable:
        if fits(whole := _Attempt(*wish, num_all)):
            return whole
    # Layers on the host make everything slow, so context does not take the place of more layers.
    for wish in wishes[len(comfortable) - 1 :]:
        for layers in range(num_all, -1, -1):
            if fits(part := _Attempt(*wish, layers)):
                return part
    return None


def _why(
    weights: Weights,
    chosen: _Attempt,
    room: _Room,
    best: tuple[int, int],
    context_tokens: int | None,
    num_slots: int | None,
    gpu_layers: int | None,
) -> tuple[str, ...]:
    """One sentence for each thing that was chosen here rather than asked for."""
    why = []
    free = f"{in_bytes(room.host_bytes)} free"
    if gpu_layers is None and room.gpu_bytes:
        free = f"{in_bytes(room.gpu_bytes)} free on the GPU"
        why.append(_why_layers(weights, chosen, room))
    if weights.is_estimate:
        billions = f"{weights.num_parameters / 1e9:.1f} billion parameters"
        why.append(f"estimate: from {billions} at {weights.precision}; exact once it is here")
    if context_tokens is None:
        why.append(f"context {chosen.context_tokens}: {_why_context(weights, chosen, best, free)}")
    if num_slots is None and chosen.num_slots < best[1]:
        why.append(f"{in_slots(chosen.num_slots)}: more do not fit {free}")
    elif num_slots is None:
        why.append(f"{in_slots(chosen.num_slots)}: as many requests are answered at a time")
    return tuple(why)


def _why_context(weights: Weights, chosen: _Attempt, best: tuple[int, int], free: str) -> str:
    if chosen.context_tokens < best[0]:
        return f"the largest that fits {free}"
    if chosen.context_tokens == weights.context_tokens:
        return "all that the model has"
    return f"more of the model's {weights.context_tokens} only when asked for"


def _why_layers(weights: Weights, chosen: _Attempt, room: _Room) -> str:
    total = weights.num_layers + 1
    free = f"{in_bytes(room.gpu_bytes)} free on the GPU"
    if chosen.gpu_layers == total:
        return f"all {total} layers on the GPU: they fit {free}"
    if chosen.gpu_layers == 0:
        return f"no layers on the GPU: none fits {free}"
    return f"{chosen.gpu_layers} of {total} layers on the GPU: the most that fit {free}"


def _why_read(weights: Weights, *, mapped: bool) -> tuple[str, ...]:
    if mapped:
        return ()
    return (
        f"weights read, not mapped: this CPU lays {weights.precision} out anew, "
        "and mapped they would be in memory twice",
    )
