"""A program that speaks llama-server's wire and misbehaves on command; it loads nothing.

    python tests/fake_engine.py --socket /tmp/x/e.sock --tokens 5 --token-delay-s 0.01
    python tests/fake_engine.py --port 0        # prints the address on standard output

A request's `max_tokens` shortens what `--tokens` gives. The text is `--text` repeated word by word,
so answers can be predicted: see `fake_shapes.words`; before them comes what a request's grammar
forces (`root ::= "text" …`). With FAKE_ENGINE_KEY in the environment the
key is asked for. With `--context N`, a body of more than N words does not fit the context.
With `--let-go-s S`, it takes as long to notice that a client left, as a real engine's batch does.
Misbehaviour is named by `--do`, several times if wanted:

    never-ready          /health answers 503 for ever
    deaf                 never listens at all
    ignore-sigterm       only SIGKILL ends it
    die-at-start         exits with `--exit-code` after writing `--last-words`
    die-mid-stream       SIGKILLs itself after half of an answer's tokens
    die-after            exits with `--exit-code` after `--after` completions
    hang                 accepts and never answers, after `--after` completions; /health too
    hang-mid-stream      stops after half of an answer's tokens, /health goes on
    bad-json             answers and frames that are no JSON
    wrong-content-type   text/html instead of JSON or an event stream
    half-frame           cuts each SSE frame into two writes, now and then within a character
    error-event          sends llama-server's error event after half of the tokens
    error-500            answers 500 with llama-server's error body
    no-done              ends a stream without [DONE]
    no-counting          does not count a chat's tokens, as engines other than llama.cpp
    cut                  closes the connection after half of the tokens
    huge-line            sends a frame of 4 MiB first
    ping                 sends a comment line before each frame
    core                 says how large a core dump it could leave, and its OOM score adjustment
    spawn                starts a grandchild that sleeps, and prints its pid

`POST /fake/do` {"do": ["hang"], "after": 0, "token_delay_s": 0.5, ...} changes flags while running.
`GET /fake/stats` counts requests: running, total, completed, aborted, peak; and gives the pid.
`GET /fake/last` gives path, headers and body of the last completion. None asks for the key.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake_shapes import (
    NUM_PROMPT_TOKENS,
    Json,
    context_error,
    error,
    first_frames,
    forced_text,
    last_frames,
    token_frame,
    whole,
    words,
)

COMPLETIONS = {
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/completion",
    "/infill",
}
HAS_DONE = {"/v1/completions", "/v1/chat/completions"}


@dataclass
class Connection:
    """One client's connection, with as much HTTP as is needed."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> tuple[str, dict[str, str], bytes] | None:
        """Path, headers and body of the next request; None at the end."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return first.split(" ")[1].partition("?")[0], headers, body

    async def send(self, status: int, body: bytes, kind: str) -> None:
        head = f"HTTP/1.1 {status} Fake\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + body)
        await self.writer.drain()

    async def send_json(self, status: int, body: Json) -> None:
        await self.send(status, json.dumps(body).encode(), "application/json; charset=utf-8")

    async def send_piece(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self.writer.drain()


@dataclass
class Fake:
    flags: argparse.Namespace
    started_at: float = field(default_factory=time.monotonic)
    stats: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("running", "total", "completed", "aborted", "peak"), 0
        )
    )
    last: dict[str, Any] = field(default_factory=dict)

    def does(self, what: str) -> bool:
        return what in self.flags.do

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Connection(reader, writer)
        try:
            while (request := await link.request()) is not None:
                path, headers, body = request
                await self.answer(link, path, headers, body)
                if headers.get("connection") == "close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(
        self, link: Connection, path: str, headers: dict[str, str], body: bytes
    ) -> None:
        key = os.environ.get("FAKE_ENGINE_KEY")
        if path.startswith("/fake/"):
            await link.send_json(200, self.fake_route(path, body))
        elif self.does("hang") and self.stats["total"] >= self.flags.after:
            await asyncio.Event().wait()
        elif path == "/health":
            await link.send_json(*self.health())
        elif key and headers.get("authorization") != f"Bearer {key}":
            await link.send_json(*error(401, "Invalid API Key", "authentication_error"))
        elif self.health()[0] != 200:
            await link.send_json(*self.health())
        elif path in COMPLETIONS:
            await self.completion(link, path, headers, json.loads(body))
        else:
            await link.send_json(*self.other_route(path, json.loads(body or b"{}")))

    def health(self) -> tuple[int, Json]:
        is_early = time.monotonic() - self.started_at < self.flags.ready_after_s
        if self.does("never-ready") or is_early:
            return error(503, "Loading model", "unavailable_error")
        return 200, {"status": "ok"}

    def fake_route(self, path: str, body: bytes) -> Json:
        if path == "/fake/do":
            vars(self.flags).update(json.loads(body))
        return self.last if path == "/fake/last" else dict(self.stats, pid=os.getpid())

    def other_route(self, path: str, asked: Json) -> tuple[int, Json]:
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": self.flags.alias, "object": "model"}]}
        if path == "/metrics":
            return 200, {"llamacpp:requests_processing": self.stats["running"]}
        if path == "/tokenize":
            return 200, {"tokens": list(range(len(asked.get("content", "").split())))}
        if path == "/detokenize":
            return 200, {"content": "".join(words(self.flags.text, len(asked["tokens"])))}
        if path == "/v1/chat/completions/input_tokens" and not self.does("no-counting"):
            return 200, {"input_tokens": NUM_PROMPT_TOKENS, "object": "response.input_tokens"}
        if path.startswith("/v1/chat/completions/"):
            return error(501, f"{path} is not done by this engine", "not_supported_error")
        if path == "/apply-template":
            return 200, {"prompt": "\n".join(str(m["content"]) for m in asked["messages"])}
        return error(404, "File Not Found", "not_found_error")

    # --- one completion -----------------------------------------------------------------------

    async def completion(
        self, link: Connection, path: str, headers: dict[str, str], asked: Json
    ) -> None:
        """Work while the client is there; notice at once when it leaves."""
        self.last = {"path": path, "headers": headers, "body": asked}
        self.stats["total"] += 1
        self.stats["running"] += 1
        self.stats["peak"] = max(self.stats["peak"], self.stats["running"])
        work = asyncio.ensure_future(self.work(link, path, asked))
        gone = asyncio.ensure_future(link.reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                await asyncio.sleep(self.flags.let_go_s)
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
        if self.does("die-after") and self.stats["total"] > self.flags.after:
            os._exit(self.flags.exit_code)

    async def work(self, link: Connection, path: str, asked: Json) -> None:
        num_words = len(json.dumps(asked).split())
        if self.does("error-500"):
            await link.send_json(*error(500, "fake failure"))
        elif self.flags.context and num_words > self.flags.context:
            await link.send_json(*context_error(num_words, self.flags.context))
        else:
            await asyncio.sleep(self.flags.first_token_delay_s)
            await (self.stream if asked.get("stream") else self.whole)(link, path, asked)

    async def tokens(self, asked: Json) -> AsyncIterator[str]:
        """The answer's tokens at their pace, with what shall go wrong at half of them."""
        limits = (asked.get(f"max_{what}tokens") for what in ("completion_", "output_", ""))
        limit = next((limit for limit in limits if isinstance(limit, int)), self.flags.tokens)
        num_tokens = min(self.flags.tokens, limit)
        if self.flags.say:
            roles = [message.get("role") for message in asked.get("messages", ())]
            yield self.flags.say[min(roles.count("assistant"), len(self.flags.say) - 1)]
            return
        if forced := forced_text(asked):
            yield forced
        for number, token in enumerate(words(self.flags.text, num_tokens)):
            if number == num_tokens // 2:
                await self.misbehave_midway()
            yield token
            await asyncio.sleep(self.flags.token_delay_s)

    async def misbehave_midway(self) -> None:
        if self.does("die-mid-stream"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.does("hang-mid-stream"):
            await asyncio.Event().wait()
        if self.does("cut"):
            raise ConnectionAbortedError

    async def whole(self, link: Connection, path: str, asked: Json) -> None:
        tokens = [token async for token in self.tokens(asked)]
        answer = json.dumps(
            whole(path, self.flags.alias, "".join(tokens), len(tokens), asked)
        ).encode()
        if self.does("bad-json"):
            answer = answer[: len(answer) // 2]
        kind = "text/html" if self.does("wrong-content-type") else "application/json"
        await link.send(200, answer, kind)

    async def stream(self, link: Connection, path: str, asked: Json) -> None:
        kind = "text/html" if self.does("wrong-content-type") else "text/event-stream"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        link.writer.write(head.encode())
        alias = self.flags.alias
        text: list[str] = []
        if self.does("huge-line"):
            await self.send_frame(link, "data: " + json.dumps({"x": "y" * (4 << 20)}))
        for frame in first_frames(path, alias):
            await self.send_frame(link, frame)
        async for token in self.tokens(asked):
            if self.does("error-event") and text:
                await self.send_frame(link, "data: " + json.dumps(error(500, "fake failure")[1]))
                break
            text.append(token)
            await self.send_frame(link, token_frame(path, alias, token, len(text), asked))
        else:
            for frame in last_frames(path, alias, "".join(text), len(text), asked):
                await self.send_frame(link, frame)
            if path in HAS_DONE and not self.does("no-done"):
                await self.send_frame(link, "data: [DONE]")
        link.writer.write(b"0\r\n\r\n")
        await link.writer.drain()

    async def send_frame(self, link: Connection, frame: str) -> None:
        if self.does("bad-json"):
            frame = frame[: len(frame) // 2]
        if self.does("ping"):
            await link.send_piece(b":\n\n")
        data = frame.encode() + b"\n\n"
        if not self.does("half-frame"):
            await link.send_piece(data)
            return
        # In the middle of the first character of several bytes, else of the frame.
        wide = next((i for i, byte in enumerate(data) if byte >= 0x80), len(data) // 2)
        for part in (data[: wide + 1], data[wide + 1 :]):
            await link.send_piece(part)
            await asyncio.sleep(0.001)


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--alias", default="fake")
    parser.add_argument("--text", default="alpha beta gamma 你好 🙂")
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--token-delay-s", type=float, default=0.0)
    parser.add_argument("--first-token-delay-s", type=float, default=0.0)
    parser.add_argument("--let-go-s", type=float, default=0.0)
    parser.add_argument("--ready-after-s", type=float, default=0.0)
    parser.add_argument("--context", type=int, default=0)
    parser.add_argument("--after", type=int, default=0)
    parser.add_argument("--exit-code", type=int, default=3)
    parser.add_argument("--last-words", default="fake engine: error: told to die")
    parser.add_argument("--hold-mib", type=int, default=0, help="memory to fill at the start")
    parser.add_argument(
        "--say", action="append", default=[], help="the whole answer; again for later turns"
    )
    parser.add_argument("--do", action="append", default=[])
    return parser.parse_args(arguments)


async def serve(flags: argparse.Namespace) -> None:
    fake = Fake(flags)
    if "deaf" in flags.do:
        await asyncio.Event().wait()
    if flags.socket:
        server = await asyncio.start_unix_server(fake.serve, flags.socket)
    else:
        server = await asyncio.start_server(fake.serve, "127.0.0.1", flags.port)
        say(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    say("fake engine: listening", sys.stderr)
    async with server:
        await server.serve_forever()


def say(line: str, to: Any = None) -> None:
    print(line, file=to or sys.stdout, flush=True)


def main() -> None:
    flags = parse_flags(sys.argv[1:])
    ballast = bytearray(os.urandom(1 << 20) * flags.hold_mib)
    if "ignore-sigterm" in flags.do:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "spawn" in flags.do:
        say(f"grandchild {subprocess.Popen(['sleep', '600']).pid}")
    if "core" in flags.do:
        score = Path("/proc/self/oom_score_adj")
        limit = resource.getrlimit(resource.RLIMIT_CORE)[0]
        say(f"core {limit} oom {score.read_text().strip() if score.exists() else ''}")
    if "die-at-start" in flags.do:
        say(flags.last_words, sys.stderr)
        os._exit(flags.exit_code)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(flags))
    del ballast


if __name__ == "__main__":
    main()
