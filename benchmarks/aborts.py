"""Clients that leave: how soon the slot is free, and the first token of who comes next.

    python -m benchmarks.aborts [--real] [--keys 60] [--tries 200]

1. Typing: each key aborts the last completion at its first token and asks for one with a prompt
   that is two characters longer. Time to first token at the median, hearth against the engine
   alone, asked the same way with the same prompts (goal: no slower).
2. Leaving: a client closes its connection at a random moment, half of them while they wait for a
   whole answer. Time until the engine's own counter says that nothing is under way (goal: at most
   0.2 s in 99 of 100).

The model is the packaged starter; with `--real` random weights of the shape of Qwen2.5-Coder-0.5B.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import random
import tempfile
import time
from pathlib import Path

import psutil
import uvloop

from benchmarks.gateway import engine_alone
from benchmarks.measuring import Server, hearth_server, machine, median
from codehearth.engines.endpoint import Endpoint, get
from codehearth.gateway.engine.link import ask
from tests.tiny_models import QWEN_CODER_05B, make_gguf

PATH = "/v1/completions"
CODE = inspect.getsource(argparse)
PROMPT_LENGTH = 500
MAX_TOKENS = 64
LEFT_GOAL_S = 0.2


def body_of(prompt: str, *, stream: bool = True) -> bytes:
    asked = {"prompt": prompt, "max_tokens": MAX_TOKENS, "temperature": 0, "stream": stream}
    return json.dumps(asked).encode()


async def first_chunk_s(endpoint: Endpoint, body: bytes) -> float:
    """Until the first text; then the client leaves."""
    began = time.perf_counter()
    async with ask(endpoint, "POST", PATH, body) as reply:
        assert reply.status == 200, await reply.whole()
        received = b""
        async for piece in reply.pieces():
            received += piece
            if b'"text":"' in received.replace(b'"text":""', b""):
                break
    return time.perf_counter() - began


async def type_keys(endpoint: Endpoint, start: int, num_keys: int) -> list[float]:
    prompts = [CODE[start : start + PROMPT_LENGTH + 2 * key] for key in range(num_keys + 1)]
    times = [await first_chunk_s(endpoint, body_of(prompt)) for prompt in prompts]
    return times[1:]  # the first one reads the whole prompt


async def compare_typing(sides: dict[str, Endpoint], num_keys: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(4):
        for name, endpoint in sides.items():
            times[name] += await type_keys(endpoint, 3000 * (number + 1), num_keys // 4)
    for name, measured in times.items():
        ordered = sorted(measured)
        print(
            f"typing: {name}: first token p50 {median(ordered) * 1e3:.1f} ms, "
            f"p90 {ordered[len(ordered) * 9 // 10] * 1e3:.1f}, worst {ordered[-1] * 1e3:.1f}, "
            f"mean {sum(ordered) / len(ordered) * 1e3:.1f}"
        )
    ratio = median(times["hearth"]) / median(times["engine"])
    print(f"typing: hearth against the engine alone, p50: {ratio:.2f} (goal 1)")


async def free_after_s(endpoint: Endpoint, engine: Endpoint, number: int) -> float:
    body = body_of(CODE[number * 7 : number * 7 + PROMPT_LENGTH], stream=number % 2 == 0)

    async def request() -> None:
        async with ask(endpoint, "POST", PATH, body) as reply:
            await reply.whole()

    asking = asyncio.create_task(request())
    await asyncio.wait((asking,), timeout=random.uniform(0.002, 0.1))
    asking.cancel()
    await asyncio.wait((asking,))
    left_at = time.perf_counter()
    while await num_processing(engine) > 0:  # noqa: ASYNC110 - the engine has only a counter
        await asyncio.sleep(0.003)
    return time.perf_counter() - left_at


async def num_processing(engine: Endpoint) -> int:
    metrics = (await get(engine, "/metrics", timeout_s=10)).body
    name = b"\nllamacpp:requests_processing "
    return int(float(metrics.partition(name)[2].partition(b"\n")[0]))


async def measure_leaving(hearth: Endpoint, engine: Endpoint, tries: int) -> None:
    times = sorted([await free_after_s(hearth, engine, number) for number in range(tries)])
    p99 = times[len(times) * 99 // 100]
    print(
        f"leaving: {tries} clients: nothing under way in the engine after p50 "
        f"{median(times) * 1e3:.0f} ms, p99 {p99 * 1e3:.0f}, worst {times[-1] * 1e3:.0f} "
        f"(goal: p99 {LEFT_GOAL_S * 1e3:.0f})"
    )


def engine_of(server: psutil.Process) -> Endpoint:
    """Where the server's own child listens, from its arguments and its first environment."""
    for child in server.children(recursive=True):
        arguments = child.cmdline()
        if "--socket" in arguments:
            socket_path = Path(arguments[arguments.index("--socket") + 1])
            return Endpoint(socket_path, "http://engine", child.environ()["HEARTH_ENGINE_KEY"])
    raise SystemExit("the server has no engine")


async def compare(server: Server, model: str, asked: argparse.Namespace) -> None:
    hearth = Endpoint(None, server.running.url, "")
    await first_chunk_s(hearth, body_of("warm"))
    with tempfile.TemporaryDirectory() as folder:
        async with engine_alone(Path(folder), model) as engine:
            await first_chunk_s(engine, body_of("warm"))
            await compare_typing({"engine": engine, "hearth": hearth}, asked.keys)
    await measure_leaving(hearth, engine_of(server.process), asked.tries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--real", action="store_true", help="the shape of Qwen2.5-Coder-0.5B")
    parser.add_argument("--keys", type=int, default=60)
    parser.add_argument("--tries", type=int, default=200)
    asked = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        model = "starter"
        if asked.real:
            model = str(make_gguf(Path(folder) / "real.gguf", QWEN_CODER_05B, precision="Q8_0"))
        with hearth_server("-m", model) as server:
            uvloop.run(compare(server, model, asked))


if __name__ == "__main__":
    main()
