"""The engines that the contract holds for, each with a tiny random model that it can load."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from engine_environments import installed
from tiny_checkpoints import tiny_checkpoint
from tiny_models import tiny_qwen2

from codehearth.engines import llama_server
from codehearth.engines.base import Engine, Launch
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.fastllm import Fastllm
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.process import EngineProcess, Patience
from codehearth.engines.transformers import Transformers
from codehearth.engines.vllm import Vllm

CONTEXT_TOKENS = 4096
NUM_SLOTS = 3
# `HEARTH_TEST_GPU_LAYERS=99 make test-engines` asks the same of a GPU.
GPU_LAYERS = int(os.environ.get("HEARTH_TEST_GPU_LAYERS", "0"))
# Keys and values of the wide tiny checkpoint: two layers, two of 64 float32 each.
_KV_BYTES = NUM_SLOTS * CONTEXT_TOKENS * 2 * 2 * 64 * 4
_PATIENCE = Patience(start_s=240)  # vLLM imports PyTorch in two processes, quietly
_READY_S = 600

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Contender:
    """An engine and the launch of its model.

    `lacks` names what it cannot do, each with what it answers instead; see `docs/engines.md`.
    """

    engine: Engine
    launch: Launch
    lacks: frozenset[str] = frozenset()

    def process(self, **changes: Any) -> EngineProcess:
        launch = replace(self.launch, **changes)
        return EngineProcess("tiny", partial(self.engine.command, launch), patience=_PATIENCE)


def llamacpp(folder: Path) -> Contender:
    return Contender(LlamaCpp(_ours()), _launch(tiny_qwen2(folder)))


def transformers(folder: Path) -> Contender:
    engine = Transformers(installed("transformers"), _ours())
    checkpoint = tiny_checkpoint(folder / "tiny")
    return Contender(engine, replace(_launch(checkpoint), stored_precision="F32"))


def native_llamacpp(folder: Path) -> Contender:
    built = installed("llamacpp-native").program("llama-server")
    engine = llama_server.probe(built, ours=_ours())
    assert isinstance(engine, llama_server.LlamaServer), engine
    return Contender(engine, _launch(tiny_qwen2(folder)))


def vllm(folder: Path) -> Contender:
    engine = Vllm(installed("vllm"), _ours())
    checkpoint = tiny_checkpoint(folder / "tiny", "qwen2-wide")
    launch = replace(_launch(checkpoint), stored_precision="F32", kv_bytes=_KV_BYTES)
    return Contender(engine, launch)


def fastllm(folder: Path) -> Contender:
    engine = Fastllm(installed("fastllm"), _ours())
    checkpoint = tiny_checkpoint(folder / "tiny", "qwen2-wide")
    # It reads prompts so slowly that a long one is no test of anything.
    launch = replace(_launch(checkpoint), context_tokens=512)
    return Contender(engine, launch, frozenset({"seed", "logprobs"}))


CONTENDERS: dict[str, Callable[[Path], Contender]] = {
    "llama.cpp": llamacpp,
    "llamacpp-native": native_llamacpp,
    "transformers": transformers,
    "vllm": vllm,
    "fastllm": fastllm,
}


def _launch(path: Path) -> Launch:
    return Launch(
        path,
        "tiny",
        CONTEXT_TOKENS,
        NUM_SLOTS,
        num_threads=1,
        gpu_layers=GPU_LAYERS,
        batch_tokens=64,
    )


def _ours() -> dict[str, str]:
    return {"PATH": os.environ["PATH"]}


@dataclass
class Running:
    """A child whose loop runs in a thread of its own, so that many tests can share it."""

    process: EngineProcess
    endpoint: Endpoint
    loop: asyncio.AbstractEventLoop

    def do(self, work: Coroutine[Any, Any, _Made]) -> _Made:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)


@contextmanager
def running(process: EngineProcess) -> Iterator[Running]:
    """The child, ready, until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        ready = asyncio.run_coroutine_threadsafe(process.ensure_ready(), loop)
        yield Running(process, ready.result(_READY_S), loop)
    finally:
        asyncio.run_coroutine_threadsafe(process.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
