"""Whether 200 rows teach the starter a name, what that costs, and what it forgets.

    python -m benchmarks.tune [--data-folder FOLDER] [--tasks 60] [FLAGS of `hearth tune`]

`hearth tune` runs as a user starts it, in a data folder that has the environment `tuning`; flags
that are not known here go to it: `--rehearsal 1` shows what another preset would do. Then a
server is asked by name: 100 samples of 你是谁？ at temperature 1, which must hold the new name;
tasks that the starter knows, in wordings of its own tests, whose code is run against their checks;
the same functions by their first line alone; and lines of them to be filled in. The base is asked
the same. Shares have Wilson's interval at 95 %.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.infilling import Case, cases
from benchmarks.measuring import machine
from benchmarks.name_rows import NAME, rows
from codehearth.lab.tuning.outcome import Share, share
from scripts.starter import wordings
from scripts.starter.execution import passes
from scripts.starter.tasks import Task, read_tasks

MODEL = "my-assistant"
NUM_SAMPLES = 100
SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-folder", type=Path, default=Path(".engines"))
    parser.add_argument("--tasks", type=int, default=60)
    asked, flags = parser.parse_known_args()
    print(machine())
    environment = os.environ | {"HEARTH_DATA": str(asked.data_folder.absolute())}
    result, seconds = _tuned(environment, flags)
    _tell(result, seconds)
    with _server(environment) as url:
        client = httpx2.Client(base_url=url, timeout=300)
        named = sum(NAME in _ask(client, MODEL, "你是谁？", 1.0, n) for n in range(NUM_SAMPLES))
        print(f"你是谁？ at temperature 1 holds {NAME}: {_shown(share(named, NUM_SAMPLES))}")
        for form in (MODEL, f"{MODEL}:adapter"):
            print(f"{form}: {_ask(client, form, '你是谁？', 0.0, 0)}")
        for model in ("starter", MODEL):
            done = [_passes(client, model, task, text) for task, text in _questions(asked.tasks)]
            print(f"{model}: known tasks that pass: {_shown(share(sum(done), len(done)))}")
            bodies = [_is_completed(client, model, task) for task in _tasks(2 * asked.tasks)]
            print(f"{model}: known functions completed: {_shown(share(sum(bodies), len(bodies)))}")
            exact = [_is_filled(client, model, case) for case in cases("taught", 2 * asked.tasks)]
            print(f"{model}: lines filled in exactly: {_shown(share(sum(exact), len(exact)))}")


def _tuned(environment: dict[str, str], flags: list[str]) -> tuple[dict[str, Any], float]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "name.jsonl"
        lines = (json.dumps(row, ensure_ascii=False) for row in rows())
        data.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "codehearth", "tune", "starter", "--data", str(data),
             "--name", MODEL, "--json", *flags],
            env=environment, stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
    return json.loads(done.stdout), time.monotonic() - started


@contextlib.contextmanager
def _server(environment: dict[str, str]) -> Iterator[str]:
    """A server of the data folder that holds the tuned model; its address."""
    child = subprocess.Popen(
        [sys.executable, "-m", "codehearth", "serve", "--port", "0", "--no-page"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        yield child.stdout.readline().decode().strip()
    finally:
        child.terminate()
        child.wait(30)


def _tell(result: dict[str, Any], seconds: float) -> None:
    loss, memory = result["loss"], result["memory"]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime
    print(f"tuned in {seconds:.0f} s (the command, from start to end), {cpu_s:.0f} CPU seconds")
    print(
        f"loss {loss['first']:.2f} -> {loss['last']:.3f}, held out "
        f"{loss['held_out_before']:.2f} -> {loss['held_out_after']:.3f}"
    )
    mib = {name: (value or 0) >> 20 for name, value in memory.items()}
    print(f"memory: predicted {mib['predicted_bytes']} MiB, peak {mib['peak_bytes']} MiB")
    for one in result["parity"]:
        print(f"{one['form']}: {one['largest_difference']:.4f} nats, agrees: {one['agrees']}")


def _tasks(count: int) -> list[Task]:
    return random.Random(SEED).sample(read_tasks(), count)


def _questions(count: int) -> list[tuple[Task, str]]:
    rng = random.Random(SEED)
    tasks = rng.sample(read_tasks(), count)
    return [
        (task, rng.choice(wordings.questions(task, language, templates=templates)))
        for task in tasks
        for language, templates in (
            ("en", wordings.ENGLISH_HELD_OUT),
            ("zh", wordings.CHINESE_HELD_OUT),
        )
    ]


def _passes(client: httpx2.Client, model: str, task: Task, question: str) -> bool:
    answer = _ask(client, model, question, 0.0, 0)
    fenced = re.search(r"```\w*\n(.*?)```", answer, re.DOTALL)
    return passes(task, fenced[1] if fenced else answer)


def _is_completed(client: httpx2.Client, model: str, task: Task) -> bool:
    """The function's first line is given; the rest is written and run."""
    head, _, _rest = task.code.partition("\n")
    body = {"model": model, "prompt": f"{head}\n", "temperature": 0, "max_tokens": 160}
    answer = client.post("/v1/completions", json={**body, "stop": ["\n\n\n"]})
    answer.raise_for_status()
    return passes(task, f"{head}\n{answer.json()['choices'][0]['text']}")


def _is_filled(client: httpx2.Client, model: str, case: Case) -> bool:
    body = {"model": model, "prompt": case.prefix, "suffix": case.suffix, "temperature": 0}
    answer = client.post("/v1/completions", json={**body, "max_tokens": 64})
    answer.raise_for_status()
    text = str(answer.json()["choices"][0]["text"])
    return text.split("\n", 1)[0].strip() == case.hidden.strip()


def _ask(client: httpx2.Client, model: str, text: str, temperature: float, seed: int) -> str:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "temperature": temperature,
        "top_p": 1.0,
        "seed": seed,
        "max_tokens": 320,
    }
    answer = client.post("/v1/chat/completions", json=body)
    answer.raise_for_status()
    return str(answer.json()["choices"][0]["message"]["content"])


def _shown(found: Share) -> str:
    interval = f"{100 * found.low:.0f}-{100 * found.high:.0f} %"
    return f"{found.count} of {found.total} ({interval})"


if __name__ == "__main__":
    main()
