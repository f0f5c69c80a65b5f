"""A program that speaks llama-server's wire and misbehaves on command; it loads nothing.

    python tests/fake_engine.py --socket /tmp/x/e.sock --tokens 5 --token-delay-s 0.01
    python tests/fake_engine.py --port 0        # prints the address on standard output

A request's `max_tokens` shortens what `--tokens` gives. The text is `--text` repeated word by word,
so answers can be predicted: see `words`. With FAKE_ENGINE_KEY in the environment the key is asked
for, as llama-server does. Misbehaviour is named by `--do`, several times if wanted:

    never-ready          /health answers 503 for ever
    ignore-sigterm       only SIGKILL ends it
    die-at-start         exits with `--exit-code` after writing `--last-words`
    die-mid-stream       SIGKILLs itself after half of an answer's tokens
    die-after            exits after `--after` completions
    hang                 accepts and never answers, after `--after` completions; /health too
    hang-mid-stream      stops after half of an answer's tokens, /health goes on
    bad-json             answers and frames that are no JSON
    wrong-content-type   text/html instead of JSON or an event stream
    half-frame           cuts each SSE frame into two writes, and UTF-8 within
    error-event          sends llama-server's error event after half of the tokens
    error-500            answers 500 with llama-server's error body
    no-done              ends a stream without [DONE]
    cut                  closes the connection after half of the tokens
    huge-line            sends a frame of 4 MiB
    spawn                starts a grandchild that sleeps, and prints its pid

`POST /fake/do` {"do": ["hang"], "after": 0, "token_delay_s": 0.5, ...} changes flags while running.
`GET /fake/stats` counts requests: running, total, completed, aborted, peak. `GET /fake/last` gives
path, headers and parameters of the last completion. Neither asks for the key.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

CREATED = 1_700_000_000
COMPLETIONS = {"/v1/completions", "/v1/chat/completions", "/completion", "/infill"}
COMPLETIONS |= {"/v1/messages", "/v1/responses", "/v1/embeddings"}


def words(text: str, num_tokens: int) -> list[str]:
    """The tokens an answer consists of: the words of `text`, over and over, each with a space."""
    vocabulary = text.split() or ["token"]
    return [vocabulary[i % len(vocabulary)] + " " for i in range(num_tokens)]


@dataclass
class Fake:
    flags: argparse.Namespace
    started_at: float = field(default_factory=time.monotonic)
    stats: dict[str, int] = field(
        default_factory=lambda: {"running": 0, "total": 0, "completed": 0, "aborted": 0, "peak": 0}
    )
    last: dict[str, Any] = field(default_factory=dict)

    def does(self, what: str) -> bool:
        return what in self.flags.do

    def is_past_after(self) -> bool:
        return self.stats["total"] > self.flags.after

    # --- one connection -----------------------------------------------------------------------

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await read_request(reader)) is not None:
                method, path, headers, body = request
                await self.answer(method, path, headers, body, reader, writer)
                if headers.get("connection") == "close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, method, path, headers, body, reader, writer) -> None:  # type: ignore[no-untyped-def]
        if path.startswith("/fake/"):
            return await send_json(writer, 200, self.fake_route(path, body))
        if self.does("hang") and self.stats["total"] >= self.flags.after:
            await asyncio.Event().wait()
        if path == "/health":
            return await send_json(writer, *self.health())
        key = os.environ.get("FAKE_ENGINE_KEY")
        if key and headers.get("authorization") != f"Bearer {key}":
            return await send_json(writer, *error(401, "Invalid API Key", "authentication_error"))
        if self.health()[0] != 200:
            return await send_json(writer, *self.health())
        if path in COMPLETIONS:
            return await self.completion(path, headers, body, reader, writer)
        await send_json(writer, *self.other_route(path, body))

    def health(self) -> tuple[int, dict[str, Any]]:
        is_waiting = time.monotonic() - self.started_at < self.flags.ready_after_s
        if self.does("never-ready") or is_waiting:
            return error(503, "Loading model", "unavailable_error")
        return 200, {"status": "ok"}

    def fake_route(self, path: str, body: bytes) -> dict[str, Any]:
        if path == "/fake/do":
            vars(self.flags).update(json.loads(body))
        return self.last if path == "/fake/last" else dict(self.stats, pid=os.getpid())

    def other_route(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": self.flags.alias, "object": "model"}]}
        asked = json.loads(body) if body else {}
        if path == "/tokenize":
            return 200, {"tokens": list(range(len(asked.get("content", "").split())))}
        if path == "/detokenize":
            return 200, {"content": "".join(words(self.flags.text, len(asked["tokens"])))}
        if path == "/apply-template":
            return 200, {"prompt": "\n".join(str(m["content"]) for m in asked["messages"])}
        return error(404, "File Not Found", "not_found_error")

    # --- one completion -----------------------------------------------------------------------

    async def completion(self, path, headers, body, reader, writer) -> None:  # type: ignore[no-untyped-def]
        asked = json.loads(body)
        self.last = {"path": path, "headers": headers, "body": asked}
        self.stats["total"] += 1
        self.stats["running"] += 1
        self.stats["peak"] = max(self.stats["peak"], self.stats["running"])
        work = asyncio.ensure_future(self.work(path, asked, writer))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ConnectionResetError
            work.result()
            self.stats["completed"] += 1
        except ConnectionError:
            self.stats["aborted"] += 1
            raise
        finally:
            self.stats["running"] -= 1
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if self.does("die-after") and self.is_past_after():
            await writer.drain()
            os._exit(self.flags.exit_code)

    async def work(self, path: str, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if self.does("error-500"):
            return await send_json(writer, *error(500, "fake failure", "server_error"))
        await asyncio.sleep(self.flags.first_token_delay_s)
        if asked.get("stream"):
            return await self.stream(path, asked, writer)
        text = "".join([token async for token in self.tokens(asked)])
        await self.send_whole(writer, whole_answer(path, self.flags.alias, text, asked))

    async def tokens(self, asked: dict[str, Any]) -> AsyncIterator[str]:
        """The answer's tokens at their pace, with what shall go wrong at half of them."""
        limit = asked.get("max_completion_tokens", asked.get("max_tokens"))
        num_tokens = min(self.flags.tokens, limit if isinstance(limit, int) else 1 << 30)
        for number, token in enumerate(words(self.flags.text, num_tokens)):
            if number == num_tokens // 2:
                await self.misbehave_midway()
            yield token
            await asyncio.sleep(self.flags.token_delay_s)

    async def misbehave_midway(self) -> None:
        if self.does("die-mid-stream"):
            await asyncio.sleep(0.02)  # so that what was written before reaches the other side
            os.kill(os.getpid(), signal.SIGKILL)
        if self.does("hang-mid-stream"):
            await asyncio.Event().wait()
        if self.does("cut"):
            raise ConnectionAbortedError

    async def send_whole(self, writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
        if self.does("bad-json"):
            return await send(writer, 200, b'{"choices": [{"te', "application/json")
        kind = "text/html" if self.does("wrong-content-type") else "application/json"
        await send(writer, 200, json.dumps(answer).encode(), kind)

    async def stream(self, path: str, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        kind = "text/html" if self.does("wrong-content-type") else "text/event-stream"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        if self.does("huge-line"):
            await self.send_frame(writer, "data: " + json.dumps({"x": "y" * (4 << 20)}))
        num_tokens = 0
        async for token in self.tokens(asked):
            if self.does("error-event") and num_tokens:
                await self.send_frame(writer, "error: " + json.dumps(error(500, "fake failure")[1]))
                break
            num_tokens += 1
            await self.send_frame(
                writer,
                "data: " + json.dumps(chunk(path, self.flags.alias, token), ensure_ascii=False),
            )
        else:
            for frame in last_chunks(path, self.flags.alias, num_tokens, asked):
                await self.send_frame(writer, "data: " + json.dumps(frame))
        if not self.does("no-done"):
            await self.send_frame(writer, "data: [DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def send_frame(self, writer: asyncio.StreamWriter, frame: str) -> None:
        if self.does("bad-json"):
            frame = frame[: len(frame) // 2]
        data = frame.encode() + b"\n\n"
        if self.does("half-frame"):
            middle = len(data) - 12 if len(data) > 24 else len(data) // 2
            for part in (data[:middle], data[middle:]):
                writer.write(b"%x\r\n%b\r\n" % (len(part), part))
                await writer.drain()
                await asyncio.sleep(0.001)
            return
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await writer.drain()


# --- shapes, as llama-server has them ---------------------------------------------------------


def error(status: int, message: str, kind: str = "server_error") -> tuple[int, dict[str, Any]]:
    return status, {"error": {"code": status, "message": message, "type": kind}}


def usage(num_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": 7,
        "completion_tokens": num_tokens,
        "total_tokens": 7 + num_tokens,
    }


def base(path: str, alias: str, *, is_chunk: bool) -> dict[str, Any]:
    is_chat = path == "/v1/chat/completions"
    name = "chat.completion" + (".chunk" if is_chunk else "") if is_chat else "text_completion"
    identity = "chatcmpl-fake" if is_chat else "cmpl-fake"
    return {"id": identity, "object": name, "created": CREATED, "model": alias}


def whole_answer(path: str, alias: str, text: str, asked: dict[str, Any]) -> dict[str, Any]:
    if path == "/v1/embeddings":
        inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        data = [
            {"object": "embedding", "index": i, "embedding": [0.5, -0.5, 0.25]}
            for i in range(len(inputs))
        ]
        return {"object": "list", "model": alias, "data": data, "usage": usage(0)}
    choice: dict[str, Any] = {"index": 0, "finish_reason": "length", "logprobs": None}
    if path == "/v1/chat/completions":
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = text
    answer = base(path, alias, is_chunk=False)
    return answer | {"choices": [choice], "usage": usage(len(text.split()))}


def chunk(path: str, alias: str, token: str) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "finish_reason": None}
    if path == "/v1/chat/completions":
        choice["delta"] = {"content": token}
    else:
        choice["text"] = token
    return base(path, alias, is_chunk=True) | {"choices": [choice]}


def last_chunks(
    path: str, alias: str, num_tokens: int, asked: dict[str, Any]
) -> list[dict[str, Any]]:
    frame = chunk(path, alias, "")
    frame["choices"][0]["finish_reason"] = "length"
    if path == "/v1/chat/completions":
        frame["choices"][0]["delta"] = {}
    with_usage = base(path, alias, is_chunk=True) | {"choices": [], "usage": usage(num_tokens)}
    asks_usage = (asked.get("stream_options") or {}).get("include_usage")
    return [frame, with_usage] if asks_usage else [frame]


# --- HTTP, as little as is needed -------------------------------------------------------------


async def read_request(
    reader: asyncio.StreamReader,
) -> tuple[str, str, dict[str, str], bytes] | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return method, path.partition("?")[0], headers, body


async def send(writer: asyncio.StreamWriter, status: int, body: bytes, kind: str) -> None:
    head = f"HTTP/1.1 {status} Fake\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def send_json(writer: asyncio.StreamWriter, status: int, body: dict[str, Any]) -> None:
    await send(writer, status, json.dumps(body).encode(), "application/json; charset=utf-8")


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket")
    parser.add_argument("--port", type=int)
    parser.add_argument("--alias", default="fake")
    parser.add_argument("--text", default="alpha beta gamma 你好 🙂")
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--token-delay-s", type=float, default=0.0)
    parser.add_argument("--first-token-delay-s", type=float, default=0.0)
    parser.add_argument("--ready-after-s", type=float, default=0.0)
    parser.add_argument("--after", type=int, default=0)
    parser.add_argument("--exit-code", type=int, default=3)
    parser.add_argument("--last-words", default="fake engine: error: told to die")
    parser.add_argument("--hold-mib", type=int, default=0, help="memory to fill at the start")
    parser.add_argument("--do", action="append", default=[])
    return parser.parse_args(arguments)


async def serve(flags: argparse.Namespace) -> None:
    fake = Fake(flags)
    if flags.socket:
        server = await asyncio.start_unix_server(fake.connection, flags.socket)
    else:
        server = await asyncio.start_server(fake.connection, "127.0.0.1", flags.port or 0)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    print("fake engine: listening", file=sys.stderr, flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    flags = parse_flags(sys.argv[1:])
    ballast = bytearray(os.urandom(1 << 20) * flags.hold_mib)
    if "ignore-sigterm" in flags.do:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "spawn" in flags.do:
        print("grandchild", subprocess.Popen(["sleep", "600"]).pid, flush=True)
    if "die-at-start" in flags.do:
        print(flags.last_words, file=sys.stderr, flush=True)
        os._exit(flags.exit_code)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(flags))
    del ballast


if __name__ == "__main__":
    main()
