"""Stands before an engine that speaks OpenAI's API in a dialect of its own: vLLM, LMDeploy.

``python -m codehearth.workers.front --dialect vllm --alias NAME --socket PATH -- PROGRAM …``

1. The program is started, tied to this process (`tether.py`), with its output passed on. In its
   arguments `{socket}` or `{port}` is where it shall listen, `{key}` the key that it shall want.
2. When it answers, the house's socket is opened. Until then nothing is.
3. Requests are translated (`translation.py`); closing one closes it behind as well.
4. It ends with the program. What most likely was the cause is said in the last line, since such
   engines write pages of tracebacks whose last one says "see above".

The key comes in HEARTH_ENGINE_KEY.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2

from codehearth.errors import InvalidRequest
from codehearth.wire.bounded_json import parse_json
from codehearth.wire.sse import EventReader
from codehearth.workers.behind import WELL_S, Behind
from codehearth.workers.dialects import (
    DIALECTS,
    MAX_STOPS,
    Dialect,
    counted,
    is_mark,
    token_id_of,
    tokenize_body,
)
from codehearth.workers.transformers.listener import (
    EXIT_NO_KEY,
    Refused,
    Stream,
    Whole,
    invalid,
    listen,
    take_key,
    unsupported,
)
from codehearth.workers.translation import (
    asked_of,
    model_of,
    passed_on,
    refusal_of,
    with_chat_logprobs,
)

_ROUTES = ("/v1/chat/completions", "/v1/completions")


class Front:
    """Answers the house by asking the engine behind."""

    def __init__(
        self, behind: Behind, dialect: Dialect, alias: str, adapters: Sequence[str] = ()
    ) -> None:
        self._client = behind.client
        self._dialect = dialect
        self._alias = alias
        self._adapters = tuple(adapters)
        self._num_in_flight = 0
        self._texts: dict[int, str] = {}
        self._marks: dict[str, int | None] = {}

    async def answer(self, method: str, path: str, body: bytes) -> Whole | Stream:
        match method, path:
            case "GET", "/v1/models":
                cards = [{"id": name, "object": "model"} for name in (self._alias, *self._adapters)]
                return Whole({"object": "list", "data": cards})
            case "GET", "/metrics":
                return Whole(f"hearth:requests_processing {await self._num_running()}\n")
            case "POST", "/tokenize" if self._dialect.tokenises:
                counted = await self._asked_whole("/tokenize", tokenize_body(asked_of(body)))
                return Whole({"tokens": counted["tokens"]})
            case "POST", "/detokenize" if self._dialect.tokenises:
                tokens = {"tokens": asked_of(body).get("tokens")}
                return Whole(
                    {"content": (await self._asked_whole("/detokenize", tokens))["prompt"]}
                )
            case "POST", path if path in _ROUTES:
                return await self._generated(path, asked_of(body))
        raise unsupported(f"{path} is not done by this engine")

    async def _generated(self, path: str, asked: Mapping[str, Any]) -> Whole | Stream:
        model = model_of(asked, self._alias, self._adapters)
        openai = passed_on(asked, is_chat=path == _ROUTES[0]) | {"model": model}
        if self._dialect.tokenises and openai.get("stop"):
            openai |= await self._ends(openai["stop"])
        translated = self._dialect.translated(openai, asked)
        if asked.get("stream"):
            return Stream(self._chunks(path, translated))
        whole = {name: value for name, value in translated.items() if "stream" not in name}
        return Whole(await self._named(with_chat_logprobs(await self._asked_whole(path, whole))))

    async def _ends(self, stop: str | Sequence[str]) -> dict[str, Any]:
        """Where an answer ends: texts, and the ids of those that are special tokens: a family's
        infilling has more ends than may be told as texts, and no text is written of them."""
        stops = [stop] if isinstance(stop, str) else list(stop)
        texts = [one for one in stops if not is_mark(one)]
        if len(texts) > MAX_STOPS:
            raise invalid(f"'stop' holds more than the {MAX_STOPS} texts that are taken")
        ids = [await self._mark_id(one) for one in stops if is_mark(one)]
        return {"stop": texts, "stop_token_ids": [one for one in ids if one is not None]}

    async def _mark_id(self, mark: str) -> int | None:
        """The one token that a mark is; None where it is none, so that nothing can end there."""
        if mark not in self._marks:
            body = tokenize_body({"content": mark})
            tokens = (await self._asked_whole("/tokenize", body))["tokens"]
            self._marks[mark] = tokens[0] if len(tokens) == 1 else None
        return self._marks[mark]

    async def _num_running(self) -> int:
        if not self._dialect.running:
            return self._num_in_flight
        response = await self._client.get("/metrics", timeout=WELL_S)
        return counted(response.text, self._dialect.running)

    async def _asked_whole(self, path: str, body: Mapping[str, Any]) -> Any:
        try:
            with self._counting():
                response = await self._client.post(path, json=body)
                if response.status_code != 200:
                    raise refusal_of(response.status_code, response.content, self._dialect.name)
                return parse_json(response.content)
        except (httpx2.HTTPError, InvalidRequest, ValueError) as error:
            raise self._broken(error) from error

    async def _chunks(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        try:
            with self._counting():
                async with self._client.stream("POST", path, json=body) as response:
                    if response.status_code != 200:
                        raw = await response.aread()
                        raise refusal_of(response.status_code, raw, self._dialect.name)
                    reader = EventReader()
                    async for received in response.aiter_bytes():
                        for event in reader.feed(received):
                            if event.data == b"[DONE]":
                                return
                            yield await self._named(self._chunk(event.data))
        except (httpx2.HTTPError, InvalidRequest, ValueError) as error:
            raise self._broken(error) from error
        raise Refused(502, f"{self._dialect.name} ended in the middle of an answer", "server_error")

    def _chunk(self, data: bytes) -> dict[str, Any]:
        """A chunk. Raises Refused for an error in the middle of a stream, and
        InvalidRequest or ValueError for what is none."""
        chunk = parse_json(data)
        if isinstance(chunk, dict) and "error" in chunk:
            raise refusal_of(500, data, self._dialect.name)
        return with_chat_logprobs(chunk)

    async def _named(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer with the texts of the tokens whose log-probabilities it holds."""
        for choice in answer.get("choices") or ():
            logprobs = choice.get("logprobs")
            for entry in (logprobs or {}).get("content") or ():
                for one in (entry, *entry.get("top_logprobs", ())):
                    if (number := token_id_of(one["token"])) is not None:
                        text = await self._text_of(number)
                        one |= {"id": number, "token": text, "bytes": list(text.encode())}
        return answer

    async def _text_of(self, token: int) -> str:
        if token not in self._texts:
            response = await self._client.post("/detokenize", json={"tokens": [token]})
            if response.status_code != 200:
                raise refusal_of(response.status_code, response.content, self._dialect.name)
            self._texts[token] = str(parse_json(response.content)["prompt"])
        return self._texts[token]

    @contextlib.contextmanager
    def _counting(self) -> Any:
        self._num_in_flight += 1
        try:
            yield
        finally:
            self._num_in_flight -= 1

    def _broken(self, error: Exception) -> Refused:
        what = "sent no JSON" if isinstance(error, InvalidRequest) else type(error).__name__
        return Refused(502, f"{self._dialect.name}: {what}", "server_error")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hearth-front", allow_abbrev=False)
    parser.add_argument("--dialect", required=True, choices=tuple(DIALECTS))
    parser.add_argument("--alias", required=True)
    parser.add_argument("--adapter", action="append", default=[], help="its name behind; several")
    parser.add_argument("--socket", required=True)
    parser.add_argument("program", nargs="+", help="after --")
    return parser.parse_args(arguments)


async def _main(asked: argparse.Namespace, key: str) -> int:
    behind = Behind(asked.program, key, Path(asked.socket).parent)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await behind.start()
    ending = asyncio.create_task(behind.ended())
    stopping = asyncio.create_task(told.wait())
    serving = asyncio.create_task(_serve(asked, behind, key))
    await asyncio.wait((ending, stopping, serving), return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        serving.cancel()
        await behind.stop()
        return 0
    if serving.done():
        serving.result()
    status = await ending
    print(f"error: {behind.cause or f'it ended with status {status}'}", flush=True)  # noqa: T201
    return status if status > 0 else 1


async def _serve(asked: argparse.Namespace, behind: Behind, key: str) -> None:
    await behind.ready()
    front = Front(behind, DIALECTS[asked.dialect], asked.alias, asked.adapter)
    server = await listen(asked.socket, key, front, is_well=behind.is_well)
    async with server:
        await server.serve_forever()


def main(arguments: list[str]) -> int:
    asked = parse_arguments(arguments)
    key = take_key()
    if key is None:
        return EXIT_NO_KEY
    return asyncio.run(_main(asked, key))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
