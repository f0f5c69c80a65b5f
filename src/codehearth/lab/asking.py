"""What the lab asks of an engine's child: one JSON document, one answer, over its own socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2

from codehearth.engines.endpoint import Endpoint
from codehearth.engines.process import EngineProcess
from codehearth.errors import EngineFailed

_REQUEST_S = 600.0
# A child that is well answers `/health` at once, whatever it computes. So many silent looks, and
# it hangs.
_LOOK_EVERY_S = 3.0
_LOOK_S = 5.0
_SILENT_LOOKS = 3
_LAST_WORDS_S = 2.0
_MAX_SAID_CHARS = 300


def client_of(endpoint: Endpoint) -> httpx2.AsyncClient:
    """A client that speaks to one child and to nobody else, a connection for each request."""
    socket = endpoint.socket_path
    transport = httpx2.AsyncHTTPTransport(uds=None if socket is None else str(socket))
    return httpx2.AsyncClient(
        transport=transport,
        base_url=endpoint.base_url,
        headers={"authorization": f"Bearer {endpoint.api_key}", "connection": "close"},
        timeout=_REQUEST_S,
        trust_env=False,
    )


class Asker:
    """Asks one child. Whatever goes wrong names the child and shows its last lines."""

    def __init__(
        self,
        process: EngineProcess,
        client: httpx2.AsyncClient,
        *,
        look_every_s: float = _LOOK_EVERY_S,
        look_s: float = _LOOK_S,
    ) -> None:
        self._process = process
        self._client = client
        self._look_every_s = look_every_s
        self._look_s = look_s

    async def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's JSON object. Raises EngineFailed for any other answer than 200."""
        status, answer = await self.try_asking(path, body)
        if status != 200:
            raise self._failed(f"refused {path}: {said_by(answer)}")
        return answer

    async def try_asking(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and JSON object, whatever the status. Raises EngineFailed for what is no answer,
        and what its death means where the child has died."""
        try:
            response = await self._answered(path, body)
            answer = response.json()
        except httpx2.TimeoutException as error:
            raise self._failed(f"did not answer {path} within {_REQUEST_S:.0f} s") from error
        except httpx2.HTTPError as error:
            raise await self._broken_off(path) from error
        except ValueError as error:
            raise self._failed(f"answered {path} with something that is no JSON") from error
        if not isinstance(answer, dict):
            raise self._failed(f"answered {path} with something that is no JSON object")
        return response.status_code, answer

    async def _answered(self, path: str, body: Mapping[str, Any]) -> httpx2.Response:
        """The answer, unless the child hangs meanwhile."""
        asking = asyncio.ensure_future(self._client.post(path, json=body))
        silent = 0
        try:
            while not (await asyncio.wait((asking,), timeout=self._look_every_s))[0]:
                silent = 0 if await self._process.is_alive(timeout_s=self._look_s) else silent + 1
                if silent >= _SILENT_LOOKS and self._process.state == "ready":
                    raise self._failed(f"hangs: asked for {path}, and silent since")
        finally:
            asking.cancel()
        return asking.result()

    async def _broken_off(self, path: str) -> EngineFailed:
        """The connection broke: why the child died, or that it lives and does not answer."""
        try:
            await asyncio.wait_for(self._process.wait_dead(), _LAST_WORDS_S)
            await self._process.ensure_ready()
        except TimeoutError:
            pass
        except EngineFailed as death:
            return death
        return self._failed(f"broke off while it answered {path}")

    def _failed(self, what: str) -> EngineFailed:
        return EngineFailed(
            f"The engine of '{self._process.name}' {what}.",
            log_tail=self._process.log_tail(),
            hint="its last lines are below; `hearth engines` shows whether it is whole",
            retry_after_s=None,
        )


def said_by(answer: Mapping[str, Any]) -> str:
    """What an error's answer says, in the shapes that engines have."""
    error = answer.get("error", answer)
    message = error.get("message", error) if isinstance(error, dict) else error
    return str(message)[:_MAX_SAID_CHARS]
