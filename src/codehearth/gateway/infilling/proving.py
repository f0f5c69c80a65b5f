"""Proves once that a model can infill, when its engine is up and has nothing to do.

1. The prompt is tokenized by the engine: each mark must be one token, the token that begins a
   text may be there once.
2. The engine is asked for a middle whose answer is known, in the layout that every client gets.

That happens in the background, after the first answers: nobody waits for it, and what comes of it
is told by `hearth show`. A model is asked once in its life on this machine, since the question
may cost another prompt its place in the engine's cache.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from codehearth.engines.endpoint import Endpoint, get
from codehearth.errors import HearthError
from codehearth.gateway.engine.link import engine_json
from codehearth.models.facts import Weights
from codehearth.models.infilling import InfillProof
from codehearth.pool.child import Child
from codehearth.text.endings import cut, ending_of
from codehearth.text.fim import render
from codehearth.text.fim_formats import FIM_FORMATS
from codehearth.text.fim_probe import MAX_TOKENS, is_right, probe
from codehearth.wire.bounded_json import dump_json

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
_QUIET_LOOKS = 2
_ANSWER_S = 5.0
_MAX_ANSWER = 200

Errand = Callable[[Endpoint], Coroutine[Any, Any, None]]


class ErrandChild:
    """A child with an errand that is run once when it is ready, and that its end ends."""

    def __init__(self, child: Child, errand: Errand) -> None:
        self._child = child
        self._errand = errand
        self._task: asyncio.Task[None] | None = None

    async def ensure_ready(self) -> Endpoint:
        endpoint = await self._child.ensure_ready()
        if self._task is None:
            self._task = asyncio.create_task(self._errand(endpoint))
        return endpoint

    async def stop(self, *, grace_s: float | None = None) -> None:
        if self._task is not None:
            self._task.cancel()
        await self._child.stop(grace_s=grace_s)

    async def wait_dead(self) -> None:
        await self._child.wait_dead()
        if self._task is not None:
            self._task.cancel()

    async def is_alive(self, *, timeout_s: float) -> bool:
        return await self._child.is_alive(timeout_s=timeout_s)

    def resident_bytes(self) -> int:
        return self._child.resident_bytes()

    def private_bytes(self) -> int:
        return self._child.private_bytes()


async def prove_when_idle(
    endpoint: Endpoint,
    *,
    name: str,
    format_name: str,
    weights: Weights,
    engine: str,
    keep: Callable[[InfillProof], None],
) -> None:
    """Waits until the engine is idle, asks it, and keeps what was found. Fails without a word
    but in the log: a model that was not asked serves like any other."""
    try:
        await _idle(endpoint)
        proof = await prove(endpoint, format_name=format_name, weights=weights, engine=engine)
        keep(proof)
    except (HearthError, OSError, TimeoutError) as error:
        log.info("whether '%s' can infill was not proven: %s", name, error)
        return
    if proof.problems:
        log.warning("infilling with '%s': %s", name, "; ".join(proof.problems))


async def prove(
    endpoint: Endpoint, *, format_name: str, weights: Weights, engine: str
) -> InfillProof:
    """Asks the engine now."""
    fim = probe()
    prompt = render(format_name, fim, marks=weights.fim_marks)
    tokens = await _tokens(endpoint, prompt)
    ending = ending_of(fim, format_name=format_name)
    body = {
        "prompt": prompt,
        "max_tokens": MAX_TOKENS,
        "temperature": 0.0,
        "cache_prompt": False,
        "stop": list(ending.stops),
    }
    document = await engine_json(endpoint, "/v1/completions", dump_json(body))
    answer = cut(_text_of(document), ending, fim.prefix, fim.suffix)
    return InfillProof(
        format=format_name,
        engine=engine,
        is_right=is_right(answer),
        answer=answer[:_MAX_ANSWER],
        problems=_problems(tokens, format_name, weights),
    )


def _problems(tokens: list[int], format_name: str, weights: Weights) -> tuple[str, ...]:
    """What is wrong with the prompt as the engine reads it."""
    found = []
    for mark in FIM_FORMATS[format_name].tokens:
        ids = {weights.fim_ids[text] for text in (mark, f"▁{mark}") if text in weights.fim_ids}
        if ids and not ids & set(tokens):
            found.append(f"the mark {mark} is not read as one token")
    first = weights.token_ids.get("bos")
    if first is not None and tokens[:2] == [first, first]:
        found.append("the token that begins a text comes twice")
    if weights.add_bos and first is not None and tokens[:1] != [first]:
        found.append("the token that begins a text is missing")
    return tuple(found)


async def _tokens(endpoint: Endpoint, prompt: str) -> list[int]:
    body = dump_json({"content": prompt, "add_special": True})
    document = await engine_json(endpoint, "/tokenize", body)
    tokens = document.get("tokens") if isinstance(document, dict) else None
    return [token for token in tokens or () if isinstance(token, int)]


def _text_of(document: Any) -> str:
    try:
        return str(document["choices"][0]["text"])
    except (KeyError, IndexError, TypeError):
        return ""


async def _idle(endpoint: Endpoint) -> None:
    """Returns when the engine had nothing to do at two looks in a row."""
    num_quiet = 0
    while num_quiet < _QUIET_LOOKS:
        await asyncio.sleep(_LOOK_EVERY_S)
        num_quiet = num_quiet + 1 if await _is_quiet(endpoint) else 0


async def _is_quiet(endpoint: Endpoint) -> bool:
    answer = await get(endpoint, "/metrics", timeout_s=_ANSWER_S)
    lines = answer.body.decode("utf-8", "replace").splitlines()
    counts = [line for line in lines if ":requests_" in line and not line.startswith("#")]
    return bool(counts) and all(line.rpartition(" ")[2] in ("0", "0.0") for line in counts)
