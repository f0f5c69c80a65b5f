"""Passes requests on to servers elsewhere that speak OpenAI's API: one model, some servers.

A child of the house like every engine, so that queues, watchdog, stops and streams are the same as
for models of this machine. Only the operator's settings name the servers; nothing in a request can.
The keys come in the environment: HEARTH_ENGINE_KEY is the house's, HEARTH_REMOTE_KEY theirs.

1. A request goes to the server that is well and answers the fewest of ours.
2. A server that cannot be reached, does not have the model, or answers 429 or 5xx before its first
   chunk, is left alone for a while and the next one is asked; after the first chunk an error is an
   error.
3. The answer is always streamed, so closing the connection stops it over there as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx2

from codehearth.wire.sse import EventReader
from codehearth.workers.transformers.listener import (
    EXIT_NO_KEY,
    Refused,
    Stream,
    Whole,
    listen,
    take_key,
    unsupported,
)
from codehearth.workers.translation import asked_of, passed_on, refusal_of, with_chat_logprobs

REMOTE_KEY_VARIABLE = "HEARTH_REMOTE_KEY"
EXIT_NOBODY_ANSWERS = 1

_ROUTES = ("/v1/chat/completions", "/v1/completions")
_LEFT_ALONE_S = 10.0
_CONNECT_S = 5.0
_SILENCE_S = 600.0  # the house's watchdog is quicker
_MAX_ERROR_BYTES = 64 << 10


@dataclass(eq=False)
class Upstream:
    """One server, and how it does. `left_alone_until` is on the monotonic clock."""

    url: str
    model: str
    num_in_flight: int = 0
    left_alone_until: float = 0.0


class _TryAnother(Exception):
    """This server did not take the request; `refused` is what to say if no other does."""

    def __init__(self, refused: Refused) -> None:
        super().__init__()
        self.refused = refused


class Proxy:
    """Answers the house by asking the upstreams."""

    def __init__(self, upstreams: list[Upstream], client: httpx2.AsyncClient, alias: str) -> None:
        self._upstreams = upstreams
        self._client = client
        self._alias = alias

    async def answer(self, method: str, path: str, body: bytes) -> Whole | Stream:
        if (method, path) == ("GET", "/v1/models"):
            return Whole({"object": "list", "data": [{"id": self._alias, "object": "model"}]})
        if (method, path) == ("GET", "/metrics"):
            running = sum(upstream.num_in_flight for upstream in self._upstreams)
            return Whole(f"hearth:requests_processing {running}\n")
        if method != "POST" or path not in _ROUTES:
            raise unsupported(f"{path} is not passed on to another server")
        asked = passed_on(asked_of(body), is_chat=path == _ROUTES[0])
        return Stream(self._chunks(path, asked))

    async def find_models(self) -> list[str]:
        """What is wrong with each upstream; those without a model's name get their first one."""
        return [problem for one in self._upstreams if (problem := await self._find_model(one))]

    async def _find_model(self, upstream: Upstream) -> str | None:
        try:
            response = await self._client.get(f"{upstream.url}/models", timeout=_CONNECT_S)
            response.raise_for_status()
            served = [str(card["id"]) for card in response.json()["data"]]
        except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            return f"{upstream.url}: {type(error).__name__} {error}".strip()
        upstream.model = upstream.model or (served[0] if served else "")
        if not served:
            return f"{upstream.url} serves no model"
        if upstream.model not in served:
            return f"{upstream.url} serves {', '.join(served[:5])}, not '{upstream.model}'"
        return None

    async def _chunks(self, path: str, asked: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        untried = list(self._upstreams)
        while True:
            upstream = choose(untried, time.monotonic())
            untried.remove(upstream)
            upstream.num_in_flight += 1
            try:
                await self._require_model(upstream)
                async with aclosing(self._asked(upstream, path, asked)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except _TryAnother as failure:
                upstream.left_alone_until = time.monotonic() + _LEFT_ALONE_S
                print(  # noqa: T201
                    f"worker: {upstream.url}: {failure.refused}", file=sys.stderr, flush=True
                )
                if not untried:
                    raise failure.refused from None
            finally:
                upstream.num_in_flight -= 1

    async def _require_model(self, upstream: Upstream) -> None:
        """A server that named no model at the start is asked for one before it gets a request."""
        if not upstream.model and (problem := await self._find_model(upstream)):
            raise _TryAnother(Refused(502, f"the other server: {problem}", "server_error"))

    async def _asked(
        self, upstream: Upstream, path: str, asked: Mapping[str, Any]
    ) -> AsyncGenerator[dict[str, Any]]:
        url = upstream.url + path.removeprefix("/v1")
        body = dict(asked) | {"model": upstream.model}
        has_begun = False
        try:
            async with self._client.stream("POST", url, json=body) as response:
                if response.status_code != 200:
                    raise _refusal(response.status_code, await _beginning(response))
                reader = EventReader()
                async for received in response.aiter_bytes():
                    for event in reader.feed(received):
                        if event.data == b"[DONE]":
                            return
                        has_begun = True
                        yield with_chat_logprobs(json.loads(event.data))
        except (httpx2.HTTPError, ValueError) as error:
            refused = Refused(502, f"the other server: {type(error).__name__}", "server_error")
            if has_begun:
                raise refused from error
            raise _TryAnother(refused) from error
        raise Refused(502, "the other server ended in the middle of an answer", "server_error")


def _refusal(status: int, raw: bytes) -> Exception:
    """What another status than 200 means: ask another server, or tell the client."""
    refused = refusal_of(status, raw, "the other server")
    if status == 429 or status >= 500 or status in (401, 403, 404):
        return _TryAnother(refused)
    return refused


async def _beginning(response: httpx2.Response) -> bytes:
    """No more of an answer than an error takes, however much there is."""
    raw = b""
    async for received in response.aiter_bytes():
        raw += received
        if len(raw) >= _MAX_ERROR_BYTES:
            break
    return raw[:_MAX_ERROR_BYTES]


# Pure: which server, and what is said to it.


def choose(upstreams: list[Upstream], now: float) -> Upstream:
    """The one that is well and has the least to do; where none is well, the soonest to be tried."""
    well = [one for one in upstreams if one.left_alone_until <= now]
    if well:
        return min(well, key=lambda one: one.num_in_flight)
    return min(upstreams, key=lambda one: one.left_alone_until)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hearth-remote", allow_abbrev=False)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument(
        "--upstream", nargs=2, action="append", required=True, metavar=("URL", "MODEL")
    )
    return parser.parse_args(arguments)


async def _main(asked: argparse.Namespace, key: str) -> int:
    theirs = os.environ.pop(REMOTE_KEY_VARIABLE, "")
    headers = {"Authorization": f"Bearer {theirs}"} if theirs else {}
    timeout = httpx2.Timeout(_SILENCE_S, connect=_CONNECT_S)
    async with httpx2.AsyncClient(headers=headers, timeout=timeout) as client:
        upstreams = [Upstream(url, model) for url, model in asked.upstream]
        proxy = Proxy(upstreams, client, asked.alias)
        problems = await proxy.find_models()
        for problem in problems:
            print(f"error: {problem}", file=sys.stderr, flush=True)  # noqa: T201
        if len(problems) == len(upstreams):
            return EXIT_NOBODY_ANSWERS
        server = await listen(asked.socket, key, proxy)
        async with server:
            await server.serve_forever()
    return 0


def main(arguments: list[str]) -> int:
    asked = parse_arguments(arguments)
    key = take_key()
    if key is None:
        return EXIT_NO_KEY
    return asyncio.run(_main(asked, key))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
