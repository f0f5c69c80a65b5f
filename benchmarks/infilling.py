"""How good infilling through hearth is, against the model's own format written by hand.

    python -m benchmarks.infilling [--cases 200]

The rest of a line is hidden and asked for: half of the cases from the line's first letter, half
from anywhere in it. By hand, the engine is asked with the family's published layout (prefix,
suffix, middle) on its own completion route; hearth is asked on `/v1/completions` with `suffix`.
Both give the likeliest text (temperature 0), of which the first line is compared to what was
hidden; spaces at its ends do not count. Exact matches, and the edit similarity (difflib's ratio).

Two sources: tasks that the packaged starter was taught, cut where training did not cut them, which
tell something, and this repository's own code, which the starter has never seen and hardly knows.
"""

from __future__ import annotations

import argparse
import difflib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import uvloop

from benchmarks.measuring import ROOT, hearth_server, machine
from benchmarks.typing import engine_alone
from codehearth.engines.endpoint import Endpoint
from codehearth.gateway.engine.link import ask
from scripts.starter.tasks import read_tasks

_MAX_TOKENS = 64


@dataclass(frozen=True)
class Case:
    prefix: str
    suffix: str
    hidden: str


def cases(source: str, count: int) -> Iterator[Case]:
    rng = random.Random(11)
    for number in range(count):
        text = _taught(rng) if source == "taught" else _own(rng)
        lines = [m for m in re.finditer(r"[^\n]+", text) if len(m.group().strip()) >= 6]
        line = rng.choice(lines)
        start = line.start() + len(line.group()) - len(line.group().lstrip())
        at = start if number % 2 else rng.randrange(start + 1, line.end() - 1)
        yield Case(text[:at][-1500:], text[line.end() :][:600], text[at : line.end()])


def _taught(rng: random.Random) -> str:
    return "\n\n\n".join(task.code.strip() for task in rng.sample(read_tasks(), 3)) + "\n"


def _own(rng: random.Random) -> str:
    return rng.choice(sorted((ROOT / "src").rglob("*.py"))).read_text() or "x = 1234567\n"


async def by_hand(engine: Endpoint, case: Case) -> str:
    prompt = f"<|fim_prefix|>{case.prefix}<|fim_suffix|>{case.suffix}<|fim_middle|>"
    return await _completed(engine, {"prompt": prompt})


async def through_hearth(hearth: Endpoint, case: Case) -> str:
    return await _completed(hearth, {"prompt": case.prefix, "suffix": case.suffix})


async def _completed(endpoint: Endpoint, body: dict[str, Any]) -> str:
    asked = {"model": "starter", "max_tokens": _MAX_TOKENS, "temperature": 0} | body
    async with ask(endpoint, "POST", "/v1/completions", json.dumps(asked).encode()) as reply:
        answer = json.loads(await reply.whole())
    return str(answer["choices"][0]["text"])


async def compare(port: int, num_cases: int) -> None:
    hearth = Endpoint(None, f"http://127.0.0.1:{port}", "")
    async with engine_alone("starter") as engine:
        for source in ("taught", "own"):
            asked = list(cases(source, num_cases))
            theirs = [await by_hand(engine, case) for case in asked]
            ours = [await through_hearth(hearth, case) for case in asked]
            for name, answers in (("by hand", theirs), ("hearth", ours)):
                print(f"{source}, {name}: {_score(asked, answers)}")


def _score(asked: list[Case], answers: list[str]) -> str:
    pairs = [
        (case.hidden.strip(), answer.split("\n", 1)[0].strip())
        for case, answer in zip(asked, answers, strict=True)
    ]
    exact = sum(hidden == got for hidden, got in pairs)
    similarity = sum(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)
    return (
        f"{100 * exact / len(pairs):.1f} % exact, edit similarity {similarity / len(pairs):.3f} "
        f"({len(pairs)} cases)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=200)
    asked = parser.parse_args()
    print(machine())
    with hearth_server("-m", "starter") as server:
        uvloop.run(compare(server.port, asked.cases))


if __name__ == "__main__":
    main()
