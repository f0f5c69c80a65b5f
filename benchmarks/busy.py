"""Decoding beside other work: hearth's child against the engine's default, side by side.

    python benchmarks/busy.py [--rounds 5] [--tokens 48] [--loops 2] [--json FILE]

Two children hold the same random Qwen2 of the 0.5B shape (Q8_0): one is started as hearth starts
it, the other with as many threads that spin as long as OpenMP's default says. They take turns, so
that whatever else the machine does meets both; only one decodes at a time. Each round asks both on
the machine as it is and beside `--loops` busy loops. The figures are medians; the goal is a ratio
of at least 2.5 beside the loops and 0.97 without.

The machine should be quiet but for us: the load average at the start is printed with the result.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, socket

sys.path[:0] = [str(Path(__file__).parent.parent / part) for part in ("src", "tests")]

from tiny_models import QWEN_CODER_05B, make_gguf  # noqa: E402

from codehearth.engines.base import Command, Launch  # noqa: E402
from codehearth.engines.endpoint import Endpoint  # noqa: E402
from codehearth.engines.llamacpp import LlamaCpp  # noqa: E402
from codehearth.engines.process import EngineProcess  # noqa: E402
from codehearth.engines.threads import threads_for  # noqa: E402
from codehearth.models.hardware import snapshot  # noqa: E402

GOALS = {"busy": 2.5, "quiet": 0.97}


@dataclass(frozen=True)
class Result:
    """Median decode speeds in tokens/s, and hearth's over the default's."""

    threads: int
    loops: int
    rounds: int
    load_at_start: float
    hearth_quiet: float
    default_quiet: float
    hearth_busy: float
    default_busy: float

    @property
    def ratio_quiet(self) -> float:
        return self.hearth_quiet / self.default_quiet

    @property
    def ratio_busy(self) -> float:
        return self.hearth_busy / self.default_busy


class EngineConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=600)
        self.path = path

    def connect(self) -> None:
        self.sock = socket(AF_UNIX)
        self.sock.connect(str(self.path))


def decode_speed(endpoint: Endpoint, num_tokens: int) -> float:
    """Tokens per second of one answer, the first token apart, as the engine measures them."""
    assert endpoint.socket_path is not None
    body = {"prompt": [9] * 16, "max_tokens": num_tokens, "ignore_eos": True, "seed": 1}
    link = EngineConnection(endpoint.socket_path)
    headers = {"Authorization": f"Bearer {endpoint.api_key}", "Connection": "close"}
    link.request("POST", "/v1/completions", json.dumps(body), headers)
    answer = json.loads(link.getresponse().read())
    link.close()
    return float(answer["timings"]["predicted_per_second"])


@contextlib.contextmanager
def busy_loops(number: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def with_default_spinning(launch: Launch, endpoint: Endpoint) -> Command:
    command = LlamaCpp({"PATH": os.environ["PATH"]}).command(launch, endpoint)
    environment = {k: v for k, v in command.environment.items() if k != "GOMP_SPINCOUNT"}
    return replace(command, environment=environment)


async def measure(model: Path, *, rounds: int, num_tokens: int, loops: int) -> Result:
    hardware = snapshot()
    threads = threads_for(
        hardware.num_cores, hardware.num_physical_cores, num_parameters=494_000_000
    )
    launch = Launch(model, "busy", context_tokens=1024, num_slots=1, num_threads=threads)
    commands = {
        "hearth": LlamaCpp({"PATH": os.environ["PATH"]}).command,
        "default": with_default_spinning,
    }
    children = {k: EngineProcess(k, partial(make, launch)) for k, make in commands.items()}
    load = os.getloadavg()[0]
    speeds: dict[tuple[str, str], list[float]] = {}
    try:
        endpoints = {name: await child.ensure_ready() for name, child in children.items()}
        for endpoint in endpoints.values():
            await asyncio.to_thread(decode_speed, endpoint, 4)  # warm
        for number in range(rounds):
            order = list(endpoints) if number % 2 else list(reversed(endpoints))
            for state, num_loops in (("quiet", 0), ("busy", loops)):
                with busy_loops(num_loops):
                    for name in order:
                        speed = await asyncio.to_thread(decode_speed, endpoints[name], num_tokens)
                        speeds.setdefault((name, state), []).append(speed)
                        print(f"round {number} {state:5} {name:7} {speed:6.1f} tokens/s")
    finally:
        await asyncio.gather(*(child.stop() for child in children.values()))
    median = {key: statistics.median(values) for key, values in speeds.items()}
    return Result(
        threads,
        loops,
        rounds,
        load,
        median["hearth", "quiet"],
        median["default", "quiet"],
        median["hearth", "busy"],
        median["default", "busy"],
    )


def report(result: Result) -> str:
    lines = [
        f"machine: {platform.machine()}, {os.cpu_count()} CPUs, load {result.load_at_start:.1f}; "
        f"{result.threads} threads, {result.loops} busy loops, medians of {result.rounds}",
        "            hearth  default   ratio   goal",
    ]
    for state, ours, theirs, ratio in (
        ("quiet", result.hearth_quiet, result.default_quiet, result.ratio_quiet),
        ("busy", result.hearth_busy, result.default_busy, result.ratio_busy),
    ):
        verdict = "reached" if ratio >= GOALS[state] else "missed"
        lines.append(
            f"{state:10} {ours:7.1f}  {theirs:7.1f}  {ratio:5.2f}x  {GOALS[state]:4.2f}x {verdict}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--loops", type=int, default=2)
    parser.add_argument("--model", type=Path, help="a GGUF to use instead of the random one")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = asked.model or make_gguf(
            Path(folder) / "busy.gguf", QWEN_CODER_05B, precision="Q8_0"
        )
        result = asyncio.run(
            measure(model, rounds=asked.rounds, num_tokens=asked.tokens, loops=asked.loops)
        )
    print(report(result))
    if asked.json:
        ratios = {"ratio_quiet": result.ratio_quiet, "ratio_busy": result.ratio_busy}
        asked.json.write_text(json.dumps(asdict(result) | ratios, indent=2) + "\n")


if __name__ == "__main__":
    main()
