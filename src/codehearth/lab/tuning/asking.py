"""What a GGUF answers in llama.cpp, token by token: the other half of a comparison.

The child that serves users is started and asked; its template renders conversations, its
tokenizer cuts them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from codehearth.engines.base import Adapter, Launch
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.process import EngineProcess
from codehearth.engines.threads import INHERITED
from codehearth.errors import EngineFailed
from codehearth.lab.tuning.parity import Answer

_ALIAS = "tuned"
_CONTEXT_TOKENS = 1024
_REQUEST_S = 600.0


def answers(
    path: Path,
    probes: Sequence[Mapping[str, Any]],
    *,
    num_new: int,
    num_threads: int,
    adapter: Path | None = None,
) -> list[Answer]:
    """The greedy answer to each probe; raises EngineFailed."""
    adapters = () if adapter is None else (Adapter(_ALIAS, adapter),)
    launch = Launch(
        path,
        _ALIAS,
        context_tokens=_CONTEXT_TOKENS,
        num_slots=1,
        num_threads=num_threads,
        adapters=adapters,
    )
    ours = {name: value for name, value in os.environ.items() if name in INHERITED}
    process = EngineProcess(_ALIAS, partial(LlamaCpp(ours).command, launch))
    return asyncio.run(_asked(process, probes, num_new))


async def _asked(
    process: EngineProcess, probes: Sequence[Mapping[str, Any]], num_new: int
) -> list[Answer]:
    try:
        endpoint = await process.ensure_ready()
        async with _client(endpoint) as client:
            return [await _answer(client, probe, num_new) for probe in probes]
    finally:
        await process.stop()


async def _answer(client: httpx2.AsyncClient, probe: Mapping[str, Any], num_new: int) -> Answer:
    prompt = probe.get("prompt")
    if prompt is None:
        messages = {"messages": probe.get("bare", probe["messages"])}
        prompt = (await _post(client, "/apply-template", messages))["prompt"]
    cut = {"content": prompt, "add_special": "prompt" in probe, "parse_special": True}
    ids = (await _post(client, "/tokenize", cut))["tokens"]
    body = {
        "prompt": ids,
        "n_predict": num_new,
        "temperature": 0,
        "n_probs": 2,
        "return_tokens": True,
        "cache_prompt": False,
    }
    answer = await _post(client, "/completion", body)
    tokens = [int(token) for token in answer.get("tokens") or ()]
    told = answer.get("completion_probabilities") or []
    return Answer(
        prompt_ids=tuple(ids),
        answer_ids=tuple(tokens),
        answer=str(answer["content"]),
        logprobs=aligned(tokens, [(int(one["id"]), float(one["logprob"])) for one in told]),
    )


def aligned(tokens: Sequence[int], told: Sequence[tuple[int, float]]) -> tuple[float | None, ...]:
    """The log-probability of each token, None for those that the server does not tell.

    It tells none of a token that ends within a character: only the one that finishes it.

    >>> aligned([5, 163, 224, 231], [(5, -0.1), (231, -0.2)])
    (-0.1, None, None, -0.2)
    """
    found: list[float | None] = []
    at = 0
    for token in tokens:
        is_told = at < len(told) and told[at][0] == token
        found.append(told[at][1] if is_told else None)
        at += is_told
    return tuple(found)


async def _post(client: httpx2.AsyncClient, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        response = await client.post(path, json=body)
        answer = response.json()
    except (httpx2.HTTPError, ValueError) as error:
        raise EngineFailed("The engine broke off while it was compared.") from error
    if response.status_code != 200 or not isinstance(answer, dict):
        raise EngineFailed(f"The engine answered {response.status_code} while it was compared.")
    return answer


def _client(endpoint: Endpoint) -> httpx2.AsyncClient:
    socket = endpoint.socket_path
    return httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(uds=None if socket is None else str(socket)),
        base_url=endpoint.base_url,
        headers={"authorization": f"Bearer {endpoint.api_key}", "connection": "close"},
        timeout=_REQUEST_S,
        trust_env=False,
    )
