"""How fast and how large each precision is, from the engine that serves it.

Precisions take turns (A B C A B C ...), each turn in a fresh child, so that a machine that gets
slower meanwhile does not make the last one look bad. Speeds are taken at our end of the socket:
what a client would see, without the gateway.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import psutil

from codehearth.engines.base import Engine, Launch
from codehearth.engines.process import EngineProcess
from codehearth.errors import EngineFailed
from codehearth.lab.asking import Asker, client_of
from codehearth.lab.result import Memory, Noise, Streams
from codehearth.lab.statistics import sample
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.memory import Footprint, predict
from codehearth.models.prediction import prediction_of

NUM_ROUNDS = 3
NUM_SLOTS = 8
# Short prompts before decoding is timed, so that reading them hardly counts.
_SHORT_PROMPT = 4
# A timing of a fast model is repeated within its turn until so much time has passed.
_TURN_S = 0.6
_MAX_REPEATS = 5
_NOISY_SPREAD = 0.25
_NOISY_CORES = 0.15


@dataclass(frozen=True)
class Subject:
    """One precision to be timed: the engine that serves it, and what that shall load."""

    precision: str
    weights: Weights
    engine: Engine
    launch: Launch


@dataclass(frozen=True)
class Plan:
    """The same for all precisions of a measurement."""

    num_threads: int
    context_tokens: int
    prompt_tokens: int
    new_tokens: int
    num_rounds: int = NUM_ROUNDS
    num_slots: int = NUM_SLOTS


@dataclass
class Timings:
    """All that was timed of one precision, in seconds and tokens per second."""

    load_s: list[float] = field(default_factory=list)
    ttft_s: list[float] = field(default_factory=list)
    prefill: dict[int, list[float]] = field(default_factory=lambda: {1: [], NUM_SLOTS: []})
    decode: dict[int, list[float]] = field(default_factory=lambda: {1: [], NUM_SLOTS: []})
    peak_bytes: int = 0
    gpu_peak_bytes: int | None = None
    predicted: Footprint | None = None

    def streams(self) -> tuple[Streams, ...]:
        return tuple(
            Streams(number, sample(self.prefill[number]), sample(self.decode[number]))
            for number in self.prefill
        )

    def memory(self) -> Memory:
        assert self.predicted is not None
        on_gpu = self.predicted.gpu_bytes or None
        return Memory(self.peak_bytes, self.predicted.host_bytes, self.gpu_peak_bytes, on_gpu)


@dataclass(frozen=True)
class Timed:
    timings: Mapping[str, Timings]
    noise: Noise


def measure(
    subjects: Sequence[Subject],
    tokens: Sequence[int],
    plan: Plan,
    hardware: Hardware,
    *,
    turn_done: Callable[[str, int], None],
) -> Timed:
    """Times every subject in every round. Raises EngineFailed."""
    timings = {subject.precision: Timings() for subject in subjects}
    watch = _Watch()
    for number in range(plan.num_rounds):
        for subject in subjects:
            found = timings[subject.precision]
            turn = _Turn(subject, tokens, plan, hardware, found)
            asyncio.run(turn.take(watch))
            turn_done(subject.precision, number + 1)
    return Timed(timings, watch.noise(timings, hardware))


@dataclass
class _Turn:
    """One precision's turn in one round: load, warm up, time, look at the memory, end."""

    subject: Subject
    tokens: Sequence[int]
    plan: Plan
    hardware: Hardware
    timings: Timings
    asked: int = 0

    async def take(self, watch: _Watch) -> None:
        subject = self.subject
        self.timings.predicted = self._predicted()
        process = EngineProcess(subject.precision, partial(subject.engine.command, subject.launch))
        try:
            started = time.perf_counter()
            endpoint = await process.ensure_ready()
            self.timings.load_s.append(time.perf_counter() - started)
            assert process.pid is not None
            watch.begin(process.pid)
            async with client_of(endpoint) as client:
                await self._time(Asker(process, client))
            watch.end(process.pid)
            held = await asyncio.to_thread(process.resident_bytes)
            self.timings.peak_bytes = max(self.timings.peak_bytes, held)
            if subject.launch.gpu_layers:
                on_gpu = await asyncio.to_thread(process.gpu_bytes)
                if on_gpu is not None:
                    self.timings.gpu_peak_bytes = max(self.timings.gpu_peak_bytes or 0, on_gpu)
        finally:
            await process.stop()

    async def _time(self, asker: Asker) -> None:
        plan = self.plan
        await self._wall_s(asker, plan.num_slots, _SHORT_PROMPT, 8)  # pages are touched
        for _ in _repeats():
            wall = await self._wall_s(asker, 1, plan.prompt_tokens, 1)
            self.timings.ttft_s.append(wall)
            self.timings.prefill[1].append(plan.prompt_tokens / wall)
        for _ in _repeats():
            wall = await self._wall_s(asker, 1, _SHORT_PROMPT, plan.new_tokens)
            self.timings.decode[1].append(plan.new_tokens / wall)
        many = plan.num_slots
        for _ in _repeats():
            wall = await self._wall_s(asker, many, plan.prompt_tokens, 1)
            self.timings.prefill[many].append(many * plan.prompt_tokens / wall)
        for _ in _repeats():
            wall = await self._wall_s(asker, many, _SHORT_PROMPT, plan.new_tokens)
            self.timings.decode[many].append(many * plan.new_tokens / wall)

    async def _wall_s(self, asker: Asker, num_streams: int, num_prompt: int, num_new: int) -> float:
        """Until all of so many requests at a time are answered whole."""
        prompts = [self._prompt(num_prompt) for _ in range(num_streams)]
        started = time.perf_counter()
        await asyncio.gather(*(_ask(asker, prompt, num_new) for prompt in prompts))
        return time.perf_counter() - started

    def _prompt(self, num_tokens: int) -> list[int]:
        """Another part of the text each time, so that nothing is in a cache."""
        self.asked += 1
        start = self.asked * 97 % max(1, len(self.tokens) - num_tokens)
        return list(self.tokens[start : start + num_tokens])

    def _predicted(self) -> Footprint:
        launch = self.subject.launch
        predict_bytes = prediction_of(self.subject.engine.name, launch.precision) or predict
        return predict_bytes(
            self.subject.weights,
            context_tokens=launch.context_tokens,
            num_slots=launch.num_slots,
            gpu_layers=launch.gpu_layers,
            num_gpus=len(self.hardware.gpus),
            batch_tokens=launch.batch_tokens,
            kv_type="f16",
            mapped=launch.mapped,
            machine=self.hardware.machine,
        )


def _repeats() -> Iterator[int]:
    """Once, and again while there is time in the turn."""
    started = time.perf_counter()
    for number in range(_MAX_REPEATS):
        yield number
        if time.perf_counter() - started > _TURN_S:
            return


async def _ask(asker: Asker, prompt: list[int], num_new: int) -> None:
    body = {
        "prompt": prompt,
        "max_tokens": num_new,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
    }
    answer = await asker.ask("/v1/completions", body)
    made = (answer.get("usage") or {}).get("completion_tokens")
    if made != num_new:
        raise EngineFailed(
            f"The engine answered {made} tokens instead of {num_new} while it was timed."
        )


class _Watch:
    """Who else used the machine meanwhile."""

    def __init__(self) -> None:
        self._load_average = psutil.getloadavg()[0]
        self._wall_s = 0.0
        self._others_s = 0.0
        self._begun: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def begin(self, pid: int) -> None:
        self._begun = (time.perf_counter(), _busy_s(), _ours_s(pid))

    def end(self, pid: int) -> None:
        wall, busy, ours = self._begun
        self._wall_s += time.perf_counter() - wall
        self._others_s += max(0.0, (_busy_s() - busy) - (_ours_s(pid) - ours))

    def noise(self, timings: Mapping[str, Timings], hardware: Hardware) -> Noise:
        others = self._others_s / self._wall_s if self._wall_s else 0.0
        reasons = []
        if others > _NOISY_CORES * hardware.num_cores:
            reasons.append(f"other programs used {others:.1f} of {hardware.num_cores:g} cores")
        for precision, found in timings.items():
            spread = sample(found.decode[1])
            if spread.max - spread.min > _NOISY_SPREAD * spread.median:
                reasons.append(
                    f"decoding of {precision} went from {spread.min:.0f} to {spread.max:.0f} "
                    "tokens/s"
                )
        return Noise(self._load_average, others, bool(reasons), tuple(reasons))


def _busy_s() -> float:
    """CPU seconds of the whole machine that were not idle."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    return float(sum(times[:8]) - idle)


def _ours_s(pid: int) -> float:
    """CPU seconds of the engine's child and of ourselves."""
    total = 0.0
    for process in (psutil.Process(), *_tree(pid)):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += float(times.user + times.system)
    return total


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []
