"""From which size on a second thread pays: small models with one thread and with all cores.

    python -m benchmarks.threads [--rounds 3]

Each shape (random weights, Q8_0; the starter as it is) is served by one child for each way to
compute, which take turns. Printed are medians: time to first token of a prompt of some 25 tokens
of which most are read anew, and tokens a second of one stream and of eight. The rule in
`engines/threads.py` rests on it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import uvloop

from benchmarks.gateway import Work, first_token_s, request_body, tokens_per_s
from benchmarks.measuring import ROOT, machine, median
from codehearth.engines.base import Command, Launch
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.process import EngineProcess
from codehearth.models.hardware import snapshot
from tests.tiny_models import Shape, make_gguf

STARTER = ROOT / "src" / "codehearth" / "data" / "starter.gguf"
SHAPES = {
    "20M": Shape("qwen2", 8, 384, 6, 2, 64, 1536, 8192, 4096, True),
    "40M": Shape("qwen2", 8, 512, 8, 2, 64, 2048, 16384, 4096, True),
    "80M": Shape("qwen2", 12, 640, 10, 2, 64, 2560, 16384, 4096, True),
}
DEFAULT_SPINS = 300_000
WORK = Work("any", num_tokens=32, requests_per_stream=1)


def ways() -> list[tuple[int, int]]:
    """Threads, and how often they look again before they sleep."""
    cores = snapshot().num_physical_cores or 2
    return [(1, 1000), (cores, 1000), (cores, 10_000), (cores, DEFAULT_SPINS)]


def command(launch: Launch, spins: int, endpoint: Endpoint) -> Command:
    made = LlamaCpp({"PATH": os.environ["PATH"]}).command(launch, endpoint)
    return replace(made, environment={**made.environment, "GOMP_SPINCOUNT": str(spins)})


async def measure(name: str, path: Path, rounds: int) -> None:
    children = {
        way: EngineProcess(name, partial(command, _launch(path, way[0]), way[1])) for way in ways()
    }
    figures: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    try:
        endpoints = {way: await child.ensure_ready() for way, child in children.items()}
        for endpoint in endpoints.values():
            await tokens_per_s(endpoint, 4, WORK)
        for _ in range(rounds):
            for way, endpoint in endpoints.items():
                figures.setdefault(way, []).append(await _figures(endpoint))
    finally:
        await asyncio.gather(*(child.stop() for child in children.values()))
    for (threads, spins), measured in figures.items():
        first, one, eight = (median(column) for column in zip(*measured, strict=True))
        print(
            f"{name}: {threads} threads, {spins} spins: first token {first * 1e3:.2f} ms, "
            f"1 stream {one:.0f} tokens/s, 8 streams {eight:.0f}"
        )


async def _figures(endpoint: Endpoint) -> tuple[float, float, float]:
    body = request_body(4)
    prompts = (body.replace(b"Write", b"%d: write" % number) for number in range(8))
    waits = [await first_token_s(endpoint, prompt) for prompt in prompts]
    return (
        median(waits),
        await tokens_per_s(endpoint, 1, WORK),
        await tokens_per_s(endpoint, 8, WORK),
    )


def _launch(path: Path, num_threads: int) -> Launch:
    return Launch(
        path, "any", context_tokens=1024, num_slots=4, num_threads=num_threads, batch_tokens=128
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(machine())
    uvloop.run(measure("7M (starter)", STARTER, asked.rounds))
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in SHAPES.items():
            path = make_gguf(Path(folder) / f"{name}.gguf", shape, precision="Q8_0")
            uvloop.run(measure(name, path, asked.rounds))


if __name__ == "__main__":
    main()
