"""One model in a real engine, outside any server: does it load and answer?"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial

from codehearth.engines import choose_engine
from codehearth.engines.base import Launch
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.process import EngineProcess
from codehearth.errors import EngineFailed
from codehearth.gateway.engine.link import engine_json
from codehearth.models.hardware import snapshot
from codehearth.models.weights import read_weights
from codehearth.settings import Settings
from codehearth.wire.bounded_json import dump_json

_NUM_TOKENS = 16
_ANSWER_S = 60.0


@dataclass(frozen=True)
class Trial:
    load_s: float
    tokens_per_s: float


def try_model(settings: Settings, name: str) -> Trial:
    """Loads the model, lets it write a few tokens, ends it; raises what went wrong."""
    from codehearth.cli.shelf import store_of
    from codehearth.gateway.choosing import environments_of

    path = store_of(settings).find(name).path
    engine = choose_engine(
        read_weights(path),
        llama_server=settings.llama_server,
        environments=environments_of(settings),
    ).engine
    threads = settings.threads or max(1, int(snapshot().num_cores))
    launch = Launch(path, alias=name, context_tokens=512, num_slots=1, num_threads=threads)
    return asyncio.run(_try(EngineProcess(name, partial(engine.command, launch))))


async def _try(process: EngineProcess) -> Trial:
    started_at = time.monotonic()
    try:
        endpoint = await process.ensure_ready()
        loaded_at = time.monotonic()
        num_tokens = await asyncio.wait_for(_answer(endpoint), _ANSWER_S)
    except TimeoutError as error:
        raise EngineFailed("The engine loaded the model, and then did not answer.") from error
    finally:
        await process.stop()
    answered_s = time.monotonic() - loaded_at
    return Trial(loaded_at - started_at, num_tokens / answered_s)


async def _answer(endpoint: Endpoint) -> int:
    body = dump_json({"prompt": "def reverse(text):", "max_tokens": _NUM_TOKENS})
    answer = await engine_json(endpoint, "/v1/completions", body)
    return int(answer.get("usage", {}).get("completion_tokens", 0))
