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

from codehearth.engines.base import Engine, Launch
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.process import EngineProcess
from codehearth.engines.transformers import Transformers

CONTEXT_TOKENS = 4096
NUM_SLOTS = 3

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Contender:
    """An engine and the launch of its model."""

    engine: Engine
    launch: Launch

    def process(self, **changes: Any) -> EngineProcess:
        launch = replace(self.launch, **changes)
        return EngineProcess("tiny", partial(self.engine.command, launch))


def llamacpp(folder: Path) -> Contender:
    return Contender(LlamaCpp(_ours()), _launch(tiny_qwen2(folder)))


def transformers(folder: Path) -> Contender:
    engine = Transformers(installed("transformers"), _ours())
    checkpoint = tiny_checkpoint(folder / "tiny")
    return Contender(engine, replace(_launch(checkpoint), stored_precision="F32"))


CONTENDERS: dict[str, Callable[[Path], Contender]] = {
    "llama.cpp": llamacpp,
    "transformers": transformers,
}


def _launch(path: Path) -> Launch:
    return Launch(path, "tiny", CONTEXT_TOKENS, NUM_SLOTS, num_threads=1, batch_tokens=64)


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
        yield Running(process, ready.result(120), loop)
    finally:
        asyncio.run_coroutine_threadsafe(process.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
