"""The transformers worker on a GPU: memory as predicted against memory as held, and its speed.

    python -m benchmarks.gpu --python TRANSFORMERS [--shape qwen2-7b] [--precisions bf16,int8,int4]
                             [--streams 1,8,32,64] [--loop] [--layers 0]

Random weights of a shape are written, and the worker (`TRANSFORMERS` is the Python of its
environment) serves them as `hearth serve` would, with a slot for every stream. Every stream reads a
prompt and writes; the memory is that of the child on the GPU as the driver tells it, and where it
does not tell, what the whole GPU holds more than before. `--loop` is what tutorials do: one
`model.generate` after the other; the goal is 15 times its speed at 64 streams. `--layers 0` is the
processor. Results are JSON lines.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.tune_memory import SHAPES, STARTER
from codehearth.engines.base import Launch
from codehearth.engines.installed import Installed
from codehearth.engines.process import EngineProcess, Patience
from codehearth.engines.transformers import Transformers
from codehearth.engines.worker import START
from codehearth.lab.asking import Asker, client_of
from codehearth.models.gpus import cuda_gpus
from codehearth.models.prediction import prediction_of
from codehearth.models.weights import read_weights

MIB = 1 << 20
CONTEXT_TOKENS = 512
_PATIENCE = Patience(start_s=240)
_MAKE = """
import json, sys, torch, transformers
shape, device, folder = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.manual_seed(0)
torch.set_default_dtype(torch.bfloat16)
with torch.device(device):
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**shape))
model.save_pretrained(folder)
"""
_LOOP = """
import json, sys, time, torch, transformers
folder, prompt, new, device = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
model = transformers.AutoModelForCausalLM.from_pretrained(
    folder, dtype=torch.bfloat16, device_map={"": device})
ids = (torch.arange(prompt, device=device) * 7919 % 4000)[None]
options = dict(max_new_tokens=new, min_new_tokens=new, do_sample=False)
times = []
for _ in range(3):
    started = time.perf_counter()
    model.generate(ids, attention_mask=torch.ones_like(ids), **options)
    if device != "cpu":
        torch.cuda.synchronize()
    times.append(time.perf_counter() - started)
print(json.dumps({"loop_tokens_per_s": new / sorted(times)[1]}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--shape", choices=SHAPES, default="qwen2-0.5b")
    parser.add_argument("--precisions", default="bf16,int8,int4")
    parser.add_argument("--streams", default="1,8,32,64")
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--layers", type=int, default=999)
    parser.add_argument("--loop", action="store_true")
    parser.add_argument("--model", type=Path, help="weights that are there, instead of new ones")
    asked = parser.parse_args()
    device = "cuda" if asked.layers else "cpu"
    with tempfile.TemporaryDirectory(prefix="hearth-gpu-") as folder:
        path = asked.model or Path(folder) / "model"
        if not path.exists():
            made_s = make(asked.python, asked.shape, device, path)
            print(json.dumps({"shape": asked.shape, "made_s": round(made_s, 1)}), flush=True)
        for precision in asked.precisions.split(","):
            for told in asyncio.run(measured(asked, path, precision)):
                print(json.dumps({"shape": asked.shape, "precision": precision} | told), flush=True)
        if asked.loop:
            numbers = [str(asked.prompt_tokens), str(asked.new_tokens), device]
            argv = [str(asked.python), "-c", _LOOP, str(path), *numbers]
            subprocess.run(argv, check=True)


def make(python: Path, shape: str, device: str, path: Path) -> float:
    """Random weights of a shape with the starter's tokenizer; the seconds that it took."""
    started = time.perf_counter()
    subprocess.run([python, "-c", _MAKE, json.dumps(SHAPES[shape]), device, path], check=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copyfile(STARTER / name, path / name)
    return time.perf_counter() - started


async def measured(asked: argparse.Namespace, path: Path, precision: str) -> list[dict[str, Any]]:
    """A line for what it holds once loaded, and one for each number of streams."""
    weights = read_weights(path)
    streams = [int(number) for number in asked.streams.split(",")]
    layers = min(asked.layers, weights.num_layers + 1)
    launch = Launch(
        path=path,
        alias="model",
        context_tokens=CONTEXT_TOKENS,
        num_slots=max(streams),
        num_threads=max(1, len(os.sched_getaffinity(0)) - 1),
        gpu_layers=layers,
        batch_tokens=512 if layers else 128,
        precision=precision,
        stored_precision="BF16",
    )
    engine, before = _engine(asked.python), _held_on_all()
    process = EngineProcess("model", partial(engine.command, launch), patience=_PATIENCE)
    started = time.perf_counter()
    try:
        endpoint = await process.ensure_ready()
        lines = [{"load_s": round(time.perf_counter() - started, 2), **_held(process, before)}]
        async with client_of(endpoint) as client:
            asker = Asker(process, client)
            await _wall_s(asker, 1, 8, 4)
            for number in streams:
                lines.append(await _timed(asker, asked, number) | _held(process, before))
                footprint = _predicted(weights, number, asked, launch, precision)
                lines[-1] |= {f"predicted_{name}_mib": size // MIB for name, size in footprint}
        return lines
    finally:
        await process.stop()


def _engine(python: Path) -> Transformers:
    said = subprocess.run(
        [python, "-P", START, "transformers", "--check"], check=True, capture_output=True, text=True
    )
    facts = json.loads(said.stdout.splitlines()[-1])
    return Transformers(
        Installed("transformers", "cuda", python, facts["version"], "", facts), dict(os.environ)
    )


async def _timed(asker: Asker, asked: argparse.Namespace, streams: int) -> dict[str, Any]:
    await _wall_s(asker, streams, asked.prompt_tokens, 4)  # the allocator, and kernels of this size
    first_s = await _wall_s(asker, streams, asked.prompt_tokens, 1)
    whole_s = await _wall_s(asker, streams, asked.prompt_tokens, asked.new_tokens)
    tokens = streams * (asked.new_tokens - 1)
    return {
        "streams": streams,
        "first_token_ms": round(1000 * first_s, 1),
        "read_tokens_per_s": round(streams * asked.prompt_tokens / first_s),
        "write_tokens_per_s": round(tokens / max(1e-6, whole_s - first_s), 1),
        "whole_tokens_per_s": round(streams * asked.new_tokens / whole_s, 1),
    }


async def _wall_s(asker: Asker, streams: int, num_prompt: int, num_new: int) -> float:
    started = time.perf_counter()
    await asyncio.gather(
        *(asker.ask("/v1/completions", _body(number, num_prompt, num_new))
          for number in range(streams))
    )  # fmt: skip
    return time.perf_counter() - started


def _body(stream: int, num_prompt: int, num_new: int) -> dict[str, Any]:
    prompt = [(7919 * position + 31 * stream) % 4000 for position in range(num_prompt)]
    return {"prompt": prompt, "max_tokens": num_new, "temperature": 0, "ignore_eos": True}


def _predicted(
    weights: Any, streams: int, asked: argparse.Namespace, launch: Launch, precision: str
) -> Iterator[tuple[str, int]]:
    """What is predicted for so many answers of the length that was written."""
    predict = prediction_of("transformers", precision)
    assert predict is not None
    footprint = predict(
        weights,
        context_tokens=asked.prompt_tokens + asked.new_tokens,
        num_slots=streams,
        gpu_layers=launch.gpu_layers,
        num_gpus=1 if launch.gpu_layers else 0,
        batch_tokens=launch.batch_tokens,
        kv_type="f16",
        mapped=True,
        machine="x86_64",
    )
    yield from footprint.parts
    yield "gpu", footprint.gpu_bytes
    yield "host", footprint.host_bytes


def _held(process: EngineProcess, before: int) -> dict[str, int | None]:
    on_gpu = process.gpu_bytes()
    return {
        "gpu_mib": None if on_gpu is None else on_gpu // MIB,
        "gpu_more_mib": (_held_on_all() - before) // MIB,
        "host_mib": process.resident_bytes() // MIB,
    }


def _held_on_all() -> int:
    return sum(gpu.total_bytes - gpu.free_bytes for gpu in cuda_gpus())


if __name__ == "__main__":
    sys.exit(main())
