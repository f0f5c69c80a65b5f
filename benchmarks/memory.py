"""Memory as predicted against memory as measured, for children that really run.

    python -m benchmarks.memory [NAME] [--quick]

Makes models of real shapes with random weights, plans each as `hearth` does, starts the engine's
child with the plan, lets every slot read a prompt of more than one batch and write a few tokens,
and compares the child's resident memory (mapped weights included) with the prediction. Goal: the
error stays within 5 %. Linux only; needs 3 GB of disk for the largest model and as much memory,
and ten minutes on two cores. With NAME, only models whose name holds it are measured.

What the columns leave out: GPUs, and in most rows a full context (it touches the rest of the
mask). PSS counts the pages of libraries that other processes use as well in part.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measuring import machine
from codehearth.engines.base import Launch
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.process import EngineProcess
from codehearth.gateway.engine.link import ask
from codehearth.models.hardware import snapshot
from codehearth.models.planning import Plan, plan
from codehearth.models.weights import read_weights
from tests.tiny_models import (
    DEEP_NARROW,
    LLAMA_1B,
    QWEN_CODER_05B,
    SLIDING,
    SMALL_EXPERTS,
    TINY,
    Shape,
    make_gguf,
)

MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    name: str
    shape: Shape
    precision: str
    context_tokens: int
    num_slots: int
    pooling: str | None = None
    # More than a batch touches the buffers; a whole context also the mask's pages, and one prompt
    # after another fills a slot's checkpoints.
    prompt_tokens: int = 540
    num_prompts: int = 1


CASES = (
    Case("tiny", TINY, "F16", 4096, 4, prompt_tokens=4000),
    Case("tiny embedder", TINY, "F16", 2048, 2, pooling="mean", prompt_tokens=2000),
    Case("deep and narrow", DEEP_NARROW, "Q8_0", 4096, 2),
    Case("deep and narrow", DEEP_NARROW, "Q4_K", 4096, 2),
    Case("deep and narrow", DEEP_NARROW, "F16", 4096, 2),
    Case("Qwen2.5-Coder-0.5B", QWEN_CODER_05B, "Q8_0", 4096, 2),
    Case("Qwen2.5-Coder-0.5B", QWEN_CODER_05B, "Q4_K", 4096, 4),
    Case("Qwen2.5-Coder-0.5B", QWEN_CODER_05B, "F16", 4096, 2),
    Case("Qwen2.5-Coder-0.5B", QWEN_CODER_05B, "Q8_0", 32768, 2),
    Case("Qwen2.5-Coder-0.5B", QWEN_CODER_05B, "Q8_0", 1024, 16),
    Case("Llama-3.2-1B", LLAMA_1B, "Q8_0", 8192, 1),
    Case("Llama-3.2-1B", LLAMA_1B, "Q4_K", 8192, 2),
    Case("Llama-3.2-1B", LLAMA_1B, "F16", 4096, 1),
    Case("sliding windows", SLIDING, "Q8_0", 8192, 2, prompt_tokens=7000, num_prompts=6),
    Case("mixture of experts", SMALL_EXPERTS, "Q8_0", 4096, 2),
)


@dataclass(frozen=True)
class Held:
    """Bytes of one process now, and the most it ever held."""

    resident: int
    proportional: int
    peak: int


def held_by(pid: int) -> Held:
    smaps = Path(f"/proc/{pid}/smaps_rollup").read_text()
    status = Path(f"/proc/{pid}/status").read_text()

    def kilobytes(text: str, name: str) -> int:
        match = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
        assert match is not None
        return int(match[1]) << 10

    return Held(kilobytes(smaps, "Rss"), kilobytes(smaps, "Pss"), kilobytes(status, "VmHWM"))


async def measure(path: Path, case: Case, chosen: Plan) -> Held:
    launch = Launch(
        path=path,
        alias="model",
        context_tokens=chosen.context_tokens,
        num_slots=chosen.num_slots,
        num_threads=len(os.sched_getaffinity(0)),
        is_embedding=case.pooling is not None,
        mapped=chosen.mapped,
    )
    process = EngineProcess(case.name, partial(LlamaCpp(dict(os.environ)).command, launch))
    try:
        endpoint = await process.ensure_ready()
        await asyncio.gather(*(fill(endpoint, case, slot) for slot in range(chosen.num_slots)))
        assert process.pid is not None
        return held_by(process.pid)
    finally:
        await process.stop()


async def fill(endpoint: Endpoint, case: Case, slot: int) -> None:
    """Prompts to one slot, each a little longer than the one before."""
    for number in range(case.num_prompts):
        num_tokens = min(case.context_tokens - 32, case.prompt_tokens + 50 * number)
        prompt = [(7 * position + slot) % 300 for position in range(num_tokens)]
        route, body = "/completion", {"prompt": prompt, "n_predict": 8, "id_slot": slot}
        if case.pooling is not None:
            route, body = "/v1/embeddings", {"input": prompt}
        async with ask(endpoint, "POST", route, json.dumps(body).encode()) as reply:
            answer = await reply.whole()
            assert reply.status == 200, answer


def results(cases: tuple[Case, ...]) -> Iterator[str]:
    hardware = dataclasses.replace(snapshot(), gpus=())
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="hearth-memory-") as folder:
            path = make_gguf(
                Path(folder) / "model.gguf",
                case.shape,
                precision=case.precision,
                pooling=case.pooling,
            )
            chosen = plan(
                read_weights(path),
                hardware,
                context_tokens=case.context_tokens,
                num_slots=case.num_slots,
            )
            held = asyncio.run(measure(path, case, chosen))
        yield row(case, chosen, held)


def row(case: Case, chosen: Plan, held: Held) -> str:
    predicted = chosen.footprint.total_bytes
    parts = " + ".join(f"{size / MIB:.0f}" for _, size in chosen.footprint.parts)
    error = 100 * (predicted / held.resident - 1)
    return (
        f"| {case.name} | {case.precision}{'' if chosen.mapped else ', read'} "
        f"| {case.context_tokens} × {case.num_slots} | {parts} | {predicted / MIB:.0f} "
        f"| {held.resident / MIB:.0f} | {held.proportional / MIB:.0f} | {held.peak / MIB:.0f} "
        f"| {error:+.1f} % |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--quick", action="store_true", help="only the first four")
    asked = parser.parse_args()
    print(f"{machine()}\n")
    print(
        "| model | precision | context × slots | weights + context + compute + process (MiB) ",
        end="",
    )
    print("| predicted | measured | PSS | peak | error |\n" + "| --- " * 9 + "|")
    cases = tuple(case for case in CASES if asked.name.lower() in case.name.lower())
    for line in results(cases[:4] if asked.quick else cases):
        print(line, flush=True)


if __name__ == "__main__":
    main()
