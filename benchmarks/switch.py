"""What a switch between models costs, against the engine's own load time, side by side.

    python -m benchmarks.switch [--rounds 11] [--tiny] [--model A.gguf --model B.gguf] [--json FILE]

Real llama.cpp children, and a pool over them in this process, without HTTP in front. Each round
measures, one after the other, so that whatever else the machine does meets all of them:

- own: the engine alone, from its start until it serves, with nothing before and nothing beside;
- cold: a lease on a model that is not in memory while the other one fills the budget, so the
  other is ended first; goal: at most 1.1 of own;
- warm: a lease on a model that is in memory, after one on another; goal: at most 5 ms;
- answer: a whole small answer over such a lease against one from the engine directly.

The figures are medians. The weights are in the page cache: a load from a cold disk takes longer
for both, which only flatters the ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psutil

from benchmarks.measuring import machine, median
from codehearth.engines.base import Launch
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.process import EngineProcess
from codehearth.gateway.engine.link import ask
from codehearth.models.hardware import snapshot
from codehearth.models.memory import predict
from codehearth.models.weights import read_weights
from codehearth.pool import Limits, ModelFacts, OpenModel, Pool, Room
from codehearth.pool.amount import Amount
from tests.tiny_models import QWEN_CODER_05B, TINY, make_gguf

GOAL_COLD_RATIO = 1.1
GOAL_WARM_S = 0.005
CONTEXT_TOKENS = 2048
PROMPT = {"prompt": [9] * 8, "max_tokens": 1, "ignore_eos": True, "seed": 1}


@dataclass(frozen=True)
class Result:
    """Medians in seconds."""

    rounds: int
    model_bytes: int
    own_load_s: float
    cold_switch_s: float
    warm_switch_s: float
    cold_ratio: float
    """Of each round's two neighbours, so that a machine that slows down counts for neither."""
    worst_warm_switch_s: float
    own_answer_s: float
    leased_answer_s: float


class Shop:
    """Two models on disk and how to open them."""

    def __init__(self, models: dict[str, Path]) -> None:
        self.models = models
        self.weights = {name: read_weights(path) for name, path in models.items()}
        self.footprints = {
            name: predict(weights, context_tokens=CONTEXT_TOKENS, num_slots=1).total_bytes
            for name, weights in self.weights.items()
        }

    def process(self, name: str) -> EngineProcess:
        threads = max(1, int(snapshot().num_cores))
        launch = Launch(self.models[name], name, CONTEXT_TOKENS, 1, threads)
        return EngineProcess(name, partial(LlamaCpp({"PATH": os.environ["PATH"]}).command, launch))

    async def open_model(self, name: str, *, attempt: int, room: Room) -> OpenModel:
        facts = ModelFacts(name, CONTEXT_TOKENS, 1, self.weights[name])
        return OpenModel(self.process(name), Amount(self.footprints[name]), facts)

    def pool(self, *, num_models: int) -> Pool:
        """A pool with room for so many."""
        budget = int(max(self.footprints.values()) * (num_models + 0.5))
        limits = Limits(budget_bytes=budget, min_stay_s=0.0)
        return Pool(open_model=self.open_model, read_memory=_available, limits=limits)


def _available() -> Amount:
    return Amount(int(psutil.virtual_memory().available))


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def own_load(shop: Shop, name: str) -> float:
    process = shop.process(name)
    seconds = await timed(process.ensure_ready)
    await process.stop()
    return seconds


async def lease(pool: Pool, name: str) -> None:
    async with pool.lease(name):
        pass


async def answer(endpoint: Endpoint) -> None:
    body = json.dumps(PROMPT).encode()
    async with ask(endpoint, "POST", "/v1/completions", body) as reply:
        async for _ in reply.pieces():
            pass
        assert reply.status == 200


async def leased_answer(pool: Pool, name: str) -> None:
    async with pool.lease(name) as given:
        await answer(given.endpoint)


async def measure(shop: Shop, *, rounds: int) -> Result:
    first, second = shop.models
    small, large = shop.pool(num_models=1), shop.pool(num_models=2)
    own, cold, warm, own_answers, leased_answers = [], [], [], [], []
    try:
        for name in (first, second):
            await large.load(name)
            await own_load(shop, name)  # so that no round meets a cold page cache
        await small.load(second)
        for number in range(rounds):
            name, other = (first, second) if number % 2 == 0 else (second, first)
            own.append(await own_load(shop, name))
            cold.append(await timed(partial(lease, small, name)))
            for _ in range(50):
                warm.append(await timed(partial(lease, large, name)))
                warm.append(await timed(partial(lease, large, other)))
            async with large.lease(name) as given:
                own_answers += [await timed(partial(answer, given.endpoint)) for _ in range(10)]
            leased_answers += [await timed(partial(leased_answer, large, name)) for _ in range(10)]
            print(f"round {number}: own {own[-1]:.3f} s, cold {cold[-1]:.3f} s", flush=True)
    finally:
        await asyncio.gather(small.close(), large.close())
    return Result(
        rounds=rounds,
        model_bytes=max(path.stat().st_size for path in shop.models.values()),
        own_load_s=median(own),
        cold_switch_s=median(cold),
        warm_switch_s=median(warm),
        cold_ratio=median([ours / alone for ours, alone in zip(cold, own, strict=True)]),
        worst_warm_switch_s=max(warm),
        own_answer_s=median(own_answers),
        leased_answer_s=median(leased_answers),
    )


def report(result: Result) -> str:
    added_ms = (result.leased_answer_s - result.own_answer_s) * 1000
    return "\n".join(
        [
            machine(),
            f"two models of {result.model_bytes / 1e6:.0f} MB, medians of {result.rounds} rounds",
            f"cold switch  {result.cold_switch_s:.3f} s, the engine's own load "
            f"{result.own_load_s:.3f} s: ratio {result.cold_ratio:.2f} "
            f"(goal {GOAL_COLD_RATIO}) {_verdict(result.cold_ratio <= GOAL_COLD_RATIO)}",
            f"warm switch  {result.warm_switch_s * 1e6:.0f} µs, at worst "
            f"{result.worst_warm_switch_s * 1000:.2f} ms "
            f"(goal {GOAL_WARM_S * 1000:.0f} ms) {_verdict(result.warm_switch_s <= GOAL_WARM_S)}",
            f"one answer   {result.leased_answer_s * 1000:.2f} ms over a lease, "
            f"{result.own_answer_s * 1000:.2f} ms directly: {added_ms:+.2f} ms",
        ]
    )


def _verdict(is_reached: bool) -> str:
    return "reached" if is_reached else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--tiny", action="store_true", help="two models of a few megabytes")
    parser.add_argument("--model", type=Path, action="append", default=[], help="twice: two GGUFs")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if len(asked.model) not in (0, 2):
        parser.error("--model must be given twice or not at all")
    with tempfile.TemporaryDirectory(prefix="hearth-switch-") as folder:
        shape, precision = (TINY, "F16") if asked.tiny else (QWEN_CODER_05B, "Q8_0")
        paths = asked.model or [
            make_gguf(Path(folder) / f"{name}.gguf", shape, precision=precision) for name in "ab"
        ]
        result = asyncio.run(
            measure(Shop(dict(zip("ab", paths, strict=True))), rounds=asked.rounds)
        )
    print(report(result))
    if asked.json:
        figures = asdict(result) | {"machine": machine()}
        asked.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
