"""pass@1 of every precision: the same tasks, one answer without chance, judged in the sandbox.

Every model goes on from the head of a Python function, whether it chats or not, so that only the
weights differ. Answers are kept by the weights' hash: the same file is not asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from codehearth.client import Client
from codehearth.engines.base import Engine
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.process import EngineProcess
from codehearth.lab.candidates import Candidate, Listener
from codehearth.lab.evaluation.asking import Sampling, Subject
from codehearth.lab.evaluation.evaluate import Listener as Watcher
from codehearth.lab.evaluation.evaluate import Options, evaluate
from codehearth.lab.evaluation.report import FOLDER
from codehearth.lab.evaluation.suites import own_python_suite
from codehearth.lab.evaluation.tasks import Suite
from codehearth.lab.result import Interval, TaskFacts
from codehearth.lab.sandbox import Limits, Protection, protections
from codehearth.lab.timing import NUM_SLOTS, Timed
from codehearth.models.hardware import Hardware

Wish = Literal["auto", "always", "never"]

_MAX_TOKENS = 160
_CONTEXT_TOKENS = 1024
_NUM_SLOTS = 4
# "auto" leaves it out where writing the answers would take longer, for all precisions together.
_MAX_S = 180.0


@dataclass(frozen=True)
class Passed:
    """By precision; empty where it was left out."""

    tasks: TaskFacts | None = None
    by_precision: dict[str, Interval] = field(default_factory=dict)


def measure(
    candidates: Sequence[Candidate],
    engine: Engine,
    timed: Timed,
    wish: Wish,
    folder: Path,
    num_threads: int,
    hardware: Hardware,
    listener: Listener,
) -> Passed:
    """`engine` serves what has none of its own. Raises what engines and their answers raise."""
    found = protections()
    suite = own_python_suite(found.best) if found.best else None
    reason = _why_not(wish, suite, timed, found.summary())
    if suite is None or found.best is None or reason is not None:
        listener.say(f"pass@1 is left out: {reason}")
        return Passed()
    listener.say(f"pass@1: {len(suite.items)} tasks, sandbox: {found.best}")
    intervals: dict[str, Interval] = {}
    for number, one in enumerate(candidates):
        listener.step(f"solving tasks with {one.precision}", number / len(candidates))
        serves = one.loaded_by or engine
        launch = one.launch(
            serves,
            hardware,
            context_tokens=min(_CONTEXT_TOKENS, one.weights.context_tokens),
            num_slots=_NUM_SLOTS,
            num_threads=num_threads,
        )
        process = EngineProcess(one.precision, partial(serves.command, launch))
        intervals[one.precision] = asyncio.run(_solved(process, one, suite, found.best, folder))
    facts = TaskFacts(suite.title, suite.sha256, len(suite.items), found.best)
    return Passed(facts, intervals)


def _why_not(wish: Wish, suite: Suite | None, timed: Timed, sandbox: str) -> str | None:
    if wish == "never":
        return "as asked for"
    if suite is None:
        return f"there is no sandbox ({sandbox})"
    needed_s = predicted_s(timed, len(suite.items))
    if wish == "auto" and needed_s > _MAX_S:
        return f"it would take about {needed_s / 60:.0f} minutes; --pass-at-1 does it"
    return None


def predicted_s(timed: Timed, num_tasks: int) -> float:
    """How long writing all answers takes at most, from the speeds that were measured."""
    total = 0.0
    for timings in timed.timings.values():
        speeds = timings.decode[NUM_SLOTS]
        speed = sorted(speeds)[len(speeds) // 2] if speeds else 1.0
        total += num_tasks * _MAX_TOKENS / max(speed, 1e-3)
    return total


async def _solved(
    process: EngineProcess, one: Candidate, suite: Suite, protection: Protection, folder: Path
) -> Interval:
    try:
        endpoint = await process.ensure_ready()
        return await asyncio.to_thread(_pass_at_1, endpoint, one, suite, protection, folder)
    finally:
        await process.stop()


def _pass_at_1(
    endpoint: Endpoint, one: Candidate, suite: Suite, protection: Protection, folder: Path
) -> Interval:
    options = Options(
        protection,
        sampling=Sampling(temperature=0.0, top_p=1.0, max_tokens=_MAX_TOKENS, seed=0),
        limits=Limits(),
        num_parallel=_NUM_SLOTS,
    )
    subject = Subject(one.precision, "completion", one.sha256)
    key, path = endpoint.api_key, endpoint.socket_path
    with Client(endpoint.base_url, key=key, socket_path=path) as client:
        result = evaluate(client, [subject], suite, options, folder / FOLDER, Watcher())
    found = result.models[0].at(1)
    assert found is not None
    return found.interval
