"""The same model in several engines, timed in turns as precisions are; see `timing`.

Prompts are made-up tokens: engines read another one in the same time, and each has them from the
same vocabulary whatever its tokenizer says.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace

from codehearth.lab import timing
from codehearth.lab.extent import timing_plan
from codehearth.lab.naming import run_id
from codehearth.lab.parity.observing import Side
from codehearth.lab.speeds import EngineSpeed, EngineSpeeds
from codehearth.lab.statistics import sample
from codehearth.models.hardware import Hardware

_NUM_TOKENS = 4096


def run(
    sides: Sequence[Side], hardware: Hardware, *, step: Callable[[str, float], None]
) -> EngineSpeeds:
    """Times every side, each in the engine that serves it. Raises EngineFailed with last lines."""
    now = datetime.datetime.now(datetime.UTC)
    slowest = max((side.weights for side in sides), key=lambda weights: weights.num_bytes)
    plan = timing_plan(slowest, sides[0].launch.num_threads, hardware)
    subjects = [_subject(side, plan) for side in sides]
    turns = plan.num_rounds * len(subjects)
    taken = 0

    def turn_done(label: str, number: int) -> None:
        nonlocal taken
        taken += 1
        step(f"timing {label}, round {number}", taken / turns)

    size = min(side.weights.vocabulary_size for side in sides)
    timed = timing.measure(subjects, made_up_tokens(size), plan, hardware, turn_done=turn_done)
    return EngineSpeeds(
        id=run_id(now, sides[0].launch.alias),
        created_at=now.isoformat(timespec="seconds"),
        cpu_name=hardware.cpu_name,
        num_cores=hardware.num_cores,
        gpus=tuple(gpu.name for gpu in hardware.gpus),
        noise=timed.noise,
        speeds=tuple(_speed(side, timed.timings[side.label]) for side in sides),
    )


def made_up_tokens(vocabulary_size: int) -> tuple[int, ...]:
    """Ids all over the vocabulary, in no order, the same ones every time."""
    return tuple((7919 * number + 13) % vocabulary_size for number in range(_NUM_TOKENS))


def _subject(side: Side, plan: timing.Plan) -> timing.Subject:
    planned = max(1, side.launch.context_tokens * side.launch.num_slots)
    launch = replace(
        side.launch,
        context_tokens=plan.context_tokens,
        num_slots=plan.num_slots,
        kv_bytes=side.launch.kv_bytes * plan.context_tokens * plan.num_slots // planned,
    )
    return timing.Subject(side.label, side.weights, side.engine, launch)


def _speed(side: Side, found: timing.Timings) -> EngineSpeed:
    precision = side.launch.precision
    return EngineSpeed(
        label=side.label,
        model=side.launch.alias,
        engine=side.engine.name,
        precision="" if precision == "auto" else precision,
        load_s=sample(found.load_s),
        ttft_s=sample(found.ttft_s),
        streams=found.streams(),
        memory=found.memory(),
    )
