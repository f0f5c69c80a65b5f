"""From `hearth serve` to the first token, and what the gateway holds; against a bare `llama` child.

    python -m benchmarks.start [--rounds 5]

Goals: 2.5 s to the first token of the starter model, 120 MB for the gateway without the page. The
ratio compares with the engine's own start and first token, which no gateway can undercut.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks.gateway import engine_alone, first_token_s, request_body
from benchmarks.measuring import hearth_server, machine, median
from codehearth.engines.endpoint import Endpoint


def hearth_start() -> tuple[float, int]:
    """Seconds to the first token, and the gateway's resident bytes then."""
    began = time.perf_counter()
    with hearth_server("-m", "starter", "--no-page") as server:
        uvloop.run(first_token_s(Endpoint(None, server.running.url, ""), request_body(4)))
        return time.perf_counter() - began, server.process.memory_info().rss


def engine_start() -> float:
    async def run(folder: str) -> float:
        began = time.perf_counter()
        async with engine_alone(Path(folder), "starter") as engine:
            await first_token_s(engine, request_body(4))
            return time.perf_counter() - began

    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(run(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description="From hearth serve to the first token")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(machine())
    pairs = [(engine_start(), hearth_start()) for _ in range(rounds)]
    engine = median([engine_s for engine_s, _ in pairs])
    hearth = median([hearth_s for _, (hearth_s, _) in pairs])
    resident = median([num_bytes for _, (_, num_bytes) in pairs])
    print(
        f"first token after {hearth:.2f} s (goal 2.5), the engine alone {engine:.2f} s, "
        f"ratio {hearth / engine:.2f}; gateway {resident / 1e6:.0f} MB (goal 120)"
    )


if __name__ == "__main__":
    main()
