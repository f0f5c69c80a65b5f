"""How long an editor waits while somebody types: hearth against the engine's own `/infill`.

    python -m benchmarks.typing [--model starter|0.5b] [--requests 200] [--context-tokens 2000]

A session is replayed: code that was really written (Python's standard library, and for the text
the tasks that the starter was taught) is typed once more, character by character in bursts, at
places in the middle of it. Now and then a wrong letter is typed and taken back, and the rest of a
line is taken at once, as if a suggestion had been accepted. After each burst the editor asks, with
the request that llama.vim sends. What is typed does not depend on the answers, so both sides get
the same requests, one after the other in turns, each waiting for the answer before.

The engine alone is the same kind of child with llama.cpp's own batch of 2048 tokens, to which its
`/infill` cuts a text. Both sides are asked for the likeliest text (temperature 0).

Counted are, for each side: the time from sending a request to the end of its answer (p50, p95), and
the text: characters of suggestions that a user could accept. A suggestion counts where its first
line is the rest of the line that was really written, with the number of characters of that rest.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from benchmarks.measuring import ROOT, hearth_server, machine
from codehearth.engines.base import Launch
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.process import EngineProcess
from codehearth.engines.threads import threads_for
from codehearth.gateway.engine.link import ask
from codehearth.models.weights import read_weights
from scripts.starter.tasks import read_tasks
from tests.tiny_models import QWEN_CODER_05B, make_gguf

STARTER = ROOT / "src" / "codehearth" / "data" / "starter.gguf"
_LIBRARY = ("argparse.py", "configparser.py", "tarfile.py", "zipfile.py", "shutil.py")
_CHARACTERS_A_TOKEN = 3.0
_REQUESTS_A_PLACE = 50  # some five lines
_SHARE_BEFORE = 0.7


@dataclass(frozen=True)
class Ask:
    """One request: the text around the cursor, and the rest of the line as it was written."""

    prefix: str
    suffix: str
    wanted: str

    def body(self, n_predict: int) -> bytes:
        """As llama.vim asks, but for the likeliest text."""
        head, line_feed, line = self.prefix.rpartition("\n")
        return json.dumps(
            {
                "id_slot": 0,
                "input_prefix": head + line_feed,
                "input_suffix": self.suffix,
                "input_extra": [],
                "prompt": line,
                "n_predict": n_predict,
                "n_indent": len(line) - len(line.lstrip()),
                "top_k": 40,
                "top_p": 0.9,
                "temperature": 0.0,
                "stream": False,
                "cache_prompt": True,
                "t_max_prompt_ms": 500,
                "t_max_predict_ms": 1000,
                "response_fields": ["content", "timings/prompt_n", "timings/predicted_n"],
            }
        ).encode()


def session(num_requests: int, context_tokens: int, *, is_taught: bool) -> list[Ask]:
    rng = random.Random(7)
    asks: list[Ask] = []
    while len(asks) < num_requests:
        text = _taught_text(rng) if is_taught else _library_text(rng)
        asks += list(_typed_at_a_place(rng, text, context_tokens))[:_REQUESTS_A_PLACE]
    return asks[:num_requests]


def _library_text(rng: random.Random) -> str:
    return (Path(json.__file__).parent.parent / rng.choice(_LIBRARY)).read_text()


def _taught_text(rng: random.Random) -> str:
    return "\n\n\n".join(task.code.strip() for task in rng.sample(read_tasks(), 200)) + "\n"


def _typed_at_a_place(rng: random.Random, text: str, context_tokens: int) -> Iterator[Ask]:
    """Some lines in the middle of a text, typed once more."""
    window = int(context_tokens * _CHARACTERS_A_TOKEN)
    at = text.index("\n", rng.randrange(window, len(text) - window)) + 1
    before = text[max(0, at - int(window * _SHARE_BEFORE)) : at]
    lines = text[at:].split("\n")[:12]
    after = "\n" + text[at + len("\n".join(lines)) + 1 :][: int(window * (1 - _SHARE_BEFORE))]
    for line in lines:
        yield from _typed_line(rng, before, line, after)
        before += line + "\n"


def _typed_line(rng: random.Random, before: str, line: str, after: str) -> Iterator[Ask]:
    typed = len(line) - len(line.lstrip())
    if not line.strip():
        return
    yield Ask(before + line[:typed], after, line[typed:])
    while typed < len(line) - 1:
        typed = min(len(line), typed + rng.choice((1, 1, 1, 2, 3)))
        if rng.random() < 0.05:
            yield Ask(before + line[:typed] + "q", after, "\0")  # nothing to accept here
        yield Ask(before + line[:typed], after, line[typed:])
        if rng.random() < 0.06:
            return  # the rest of the line is accepted


@dataclass
class Side:
    """One server, and what it did."""

    endpoint: Endpoint
    waits_s: list[float]
    accepted: int = 0
    num_accepted: int = 0
    num_tokens: int = 0
    num_recalled: int = 0

    async def ask(self, asked: Ask, n_predict: int) -> None:
        began = time.perf_counter()
        async with ask(self.endpoint, "POST", "/infill", asked.body(n_predict)) as reply:
            answer = json.loads(await reply.whole())
            assert reply.status == 200, answer
        self.waits_s.append(time.perf_counter() - began)
        self.num_tokens += answer["timings/predicted_n"]
        self.num_recalled += answer["timings/predicted_n"] == 0
        first_line = answer["content"].split("\n")[0].rstrip()
        if first_line and first_line == asked.wanted.rstrip():
            self.accepted += len(first_line)
            self.num_accepted += 1

    def quantile_s(self, share: float) -> float:
        return statistics.quantiles(self.waits_s, n=100)[round(share * 100) - 1]


@asynccontextmanager
async def engine_alone(model: str) -> AsyncIterator[Endpoint]:
    """The engine with hearth's threads and slots, and llama.cpp's own default for the rest."""
    path = STARTER if model == "starter" else Path(model)
    num_parameters = read_weights(path).num_parameters
    cores = os.cpu_count() or 1
    launch = Launch(
        path=path,
        alias="engine",
        context_tokens=4096,
        num_slots=4,
        num_threads=threads_for(cores, cores, num_parameters=num_parameters),
        batch_tokens=2048,
    )
    process = EngineProcess("engine", partial(LlamaCpp(dict(os.environ)).command, launch))
    try:
        yield await process.ensure_ready()
    finally:
        await process.stop()


async def replay(port: int, model: str, asks: list[Ask], n_predict: int) -> None:
    async with engine_alone(model) as engine:
        sides = {
            "engine": Side(engine, []),
            "hearth": Side(Endpoint(None, f"http://127.0.0.1:{port}", ""), []),
        }
        for side in sides.values():
            await Side(side.endpoint, []).ask(Ask("x = ", "\n", ""), 2)
        for number, asked in enumerate(asks):
            order = list(sides.values())
            for side in order if number % 2 else reversed(order):
                await side.ask(asked, n_predict)
    _print(sides["engine"], sides["hearth"])


def _print(engine: Side, hearth: Side) -> None:
    for name, share, goal in (("p50", 0.5, 0.6), ("p95", 0.95, 0.8)):
        theirs, ours = engine.quantile_s(share), hearth.quantile_s(share)
        print(
            f"{name} of {len(engine.waits_s)} requests: engine {theirs * 1e3:.1f} ms, "
            f"hearth {ours * 1e3:.1f} ms, ratio {ours / theirs:.2f} (goal {goal})"
        )
    total = f"{sum(engine.waits_s):.1f} s, hearth {sum(hearth.waits_s):.1f} s"
    print(f"waited in all: engine {total}; tokens {engine.num_tokens}, {hearth.num_tokens}")
    print(f"answered by hearth without the engine: {hearth.num_recalled}")
    print(
        f"characters that could be accepted: engine {engine.accepted} "
        f"({engine.num_accepted} suggestions), hearth {hearth.accepted} ({hearth.num_accepted})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--model", choices=("starter", "0.5b"), default="starter")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--context-tokens", type=int, default=2000)
    parser.add_argument("--n-predict", type=int, default=128)
    asked = parser.parse_args()
    print(machine())
    print(f"{asked.model}, {asked.context_tokens} tokens of context, n_predict {asked.n_predict}")
    with tempfile.TemporaryDirectory() as folder:
        model = asked.model
        if model == "0.5b":
            path = make_gguf(Path(folder) / "shape.gguf", QWEN_CODER_05B, precision="Q8_0")
            model = str(path)
        asks = session(asked.requests, asked.context_tokens, is_taught=asked.model == "starter")
        with hearth_server("-m", model) as server:
            uvloop.run(replay(server.port, model, asks, asked.n_predict))


if __name__ == "__main__":
    main()
