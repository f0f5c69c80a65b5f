"""What the gateway costs: hearth against the engine's own port, interleaved in one run.

    python -m benchmarks.gateway [--rounds 5] [--real]

1. Added time to first token at the median, one request after the other (goal: at most 3 ms).
2. Tokens a second over all streams at 1, 8 and 64 streams (goal: at least 0.98 of the engine's).
3. CPU of the gateway for each chunk of a stream, from a fake engine that sends one every 5 ms
   (goal: at most 60 µs), beside what a program takes that only reads the same stream.

All sides are asked by the same client of the least cost with the same request, for the packaged
starter model, whose thousands of tokens a second show the gateway's cost at its worst; with
`--real` for random weights of the shape of Qwen2.5-Coder-0.5B. The engine alone is started in two
ways: as hearth starts it, and with a thread for each core that spins as long as its default says.
Hearth is held against the better one of each line, so that no rule of ours can slow down both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from benchmarks.measuring import ROOT, cpu_s, hearth_server, machine, median
from codehearth.engines.endpoint import Endpoint
from codehearth.gateway.engine.link import ask
from codehearth.gateway.opening import Opener
from codehearth.gateway.stores import make_store
from codehearth.models.hardware import snapshot
from codehearth.pool import Room
from codehearth.pool.amount import Amount
from codehearth.settings import Settings
from tests.tiny_models import QWEN_CODER_05B, make_gguf

CHAT = "/v1/chat/completions"
FAKE_TOKENS = 200
_HAS_TEXT = re.compile(rb'"content":"[^"]')


@dataclass(frozen=True)
class Work:
    """What is asked of both sides: of which model, how many tokens, by how many requests."""

    model: str
    num_tokens: int
    requests_per_stream: int


STARTER = Work("starter", num_tokens=48, requests_per_stream=8)
REAL = Work("real", num_tokens=16, requests_per_stream=1)


def request_body(max_tokens: int, model: str = "starter") -> bytes:
    """Temperature 0, so that both sides generate the same tokens."""
    return json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": "Write a function that reverses a string"}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()


async def first_token_s(endpoint: Endpoint, body: bytes) -> float:
    """Reads the answer to its end, so that the next request finds its prompt's slot free."""
    began, waited = time.perf_counter(), 0.0
    async with ask(endpoint, "POST", CHAT, body) as reply:
        assert reply.status == 200, await reply.whole()
        async for piece in reply.pieces():
            if not waited and _HAS_TEXT.search(piece):
                waited = time.perf_counter() - began
    assert waited, "no token came"
    return waited


async def stream_tokens(endpoint: Endpoint, body: bytes) -> int:
    last = b""
    async with ask(endpoint, "POST", CHAT, body) as reply:
        assert reply.status == 200, await reply.whole()
        async for piece in reply.pieces():
            last = (last + piece)[-2000:]
    usage = last.rpartition(b'"completion_tokens":')[2]
    return int(usage[: usage.index(b",")])


async def tokens_per_s(endpoint: Endpoint, num_streams: int, work: Work) -> float:
    """All streams busy until all requests are answered."""
    left = iter(range(max(4 * work.requests_per_stream, num_streams * work.requests_per_stream)))
    body = request_body(work.num_tokens, work.model)

    async def one_stream() -> int:
        total = 0
        for _ in left:
            total += await stream_tokens(endpoint, body)
        return total

    began = time.perf_counter()
    totals = await asyncio.gather(*(one_stream() for _ in range(num_streams)))
    return sum(totals) / (time.perf_counter() - began)


@contextlib.asynccontextmanager
async def engine_alone(data: Path, model: str, *, threads: int = 0) -> AsyncIterator[Endpoint]:
    """The engine as hearth starts it, or with so many threads."""
    settings = Settings(data=data, model=model, threads=threads)
    opener = Opener(settings, make_store(settings))
    opened = await opener(
        Path(model).stem, attempt=0, room=Room(Amount(8 * 2**30), Amount(8 * 2**30))
    )
    assert opened is not None
    try:
        yield await opened.process.ensure_ready()
    finally:
        await opened.process.stop()


@contextlib.contextmanager
def spinning_by_default() -> Iterator[None]:
    """Children started within get GNU OpenMP's own number instead of ours."""
    os.environ["GOMP_SPINCOUNT"] = "300000"
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


async def compare(port: int, data: Path, work: Work, model: str, rounds: int) -> None:
    async with contextlib.AsyncExitStack() as engines:
        sides = {"hearth's way": await engines.enter_async_context(engine_alone(data, model))}
        with spinning_by_default():
            default = engine_alone(data, model, threads=snapshot().num_physical_cores)
            sides["its default"] = await engines.enter_async_context(default)
        sides["hearth"] = Endpoint(None, f"http://127.0.0.1:{port}", "")
        for endpoint in sides.values():
            await tokens_per_s(endpoint, 4, work)
        await compare_first_token(sides, work, rounds * 20)
        for num_streams in (1, 8, 64):
            await compare_throughput(sides, num_streams, work, rounds)


async def compare_first_token(sides: dict[str, Endpoint], work: Work, count: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(count):
        for name, endpoint in sides.items():
            times[name].append(await first_token_s(endpoint, request_body(4, work.model)))
    waits = {name: median(measured) * 1e3 for name, measured in times.items()}
    hearth = waits.pop("hearth")
    print(
        f"{work.model}: time to first token, p50 of {count}: {_engines(waits, 'ms')}, "
        f"hearth {hearth:.2f} ms, added {hearth - min(waits.values()):.2f} ms (goal 3)"
    )


async def compare_throughput(
    sides: dict[str, Endpoint], num_streams: int, work: Work, rounds: int
) -> None:
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, endpoint in sides.items():
            rates[name].append(await tokens_per_s(endpoint, num_streams, work))
    speeds = {name: median(measured) for name, measured in rates.items()}
    hearth = speeds.pop("hearth")
    print(
        f"{work.model}: {num_streams:2} streams: {_engines(speeds, 'tokens/s')}, "
        f"hearth {hearth:.0f}, ratio {hearth / max(speeds.values()):.3f} (goal 0.98)"
    )


def _engines(figures: dict[str, float], unit: str) -> str:
    return "engine " + ", ".join(f"{value:.4g} {unit} ({name})" for name, value in figures.items())


@contextlib.contextmanager
def fake_gateway() -> Iterator[tuple[Endpoint, psutil.Process]]:
    """The gateway before a fake engine, as a process of its own: only its own CPU counts."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fake_served"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert child.stdout is not None
    try:
        yield Endpoint(None, child.stdout.readline().strip(), ""), psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(10)
        child.stdout.close()


async def chunk_cost(hearth: Endpoint, process: psutil.Process) -> None:
    """The gateway's CPU for a chunk; what it costs when nothing happens is taken off."""
    for num_streams in (1, 8, 64):
        await measure_chunks(hearth, process, num_streams)


async def measure_chunks(hearth: Endpoint, process: psutil.Process, num_streams: int) -> None:
    body = request_body(FAKE_TOKENS)
    await asyncio.gather(*(stream_tokens(hearth, body) for _ in range(num_streams)))
    costs = []
    for _ in range(3):
        before, began = cpu_s(process.pid), time.perf_counter()
        await asyncio.gather(*(stream_tokens(hearth, body) for _ in range(num_streams)))
        used, wall = cpu_s(process.pid) - before, time.perf_counter() - began
        idle_before = cpu_s(process.pid)
        await asyncio.sleep(wall)
        used -= cpu_s(process.pid) - idle_before
        costs.append(used / (FAKE_TOKENS * num_streams) * 1e6)
    floor = [await asyncio.to_thread(bare_reader_us, num_streams) for _ in range(3)]
    print(
        f"CPU of a chunk, {num_streams} streams of one chunk every 5 ms: "
        f"{median(costs):.0f} µs ({min(costs):.0f}-{max(costs):.0f}; goal 60); "
        f"a program that only reads them: {median(floor):.0f} ({min(floor):.0f}-{max(floor):.0f})"
    )


def bare_reader_us(num_streams: int) -> float:
    command = [sys.executable, "-m", "benchmarks.bare_reader", str(num_streams), str(FAKE_TOKENS)]
    return float(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--real", action="store_true", help="the shape of Qwen2.5-Coder-0.5B")
    asked = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        if asked.real:
            path = make_gguf(Path(folder) / "real.gguf", QWEN_CODER_05B, precision="Q8_0")
            compare_on(str(path), REAL, asked.rounds)
        else:
            with fake_gateway() as (hearth, process):
                uvloop.run(chunk_cost(hearth, process))
            compare_on("starter", STARTER, asked.rounds)


def compare_on(model: str, work: Work, rounds: int) -> None:
    with hearth_server("-m", model) as server, tempfile.TemporaryDirectory() as folder:
        uvloop.run(compare(server.port, Path(folder), work, model, rounds))


if __name__ == "__main__":
    main()
