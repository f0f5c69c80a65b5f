"""`hearth serve --engine transformers` and checkpoints, as users and their clients meet them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.engine_environments import ENVIRONMENTS, installed
from tests.system.conftest import Hearth, Server
from tests.tiny_checkpoints import tiny_checkpoint
from tests.tiny_models import vocabulary

ASK: Any = [{"role": "user", "content": "Write a function that reverses a string"}]


@contextmanager
def serving(hearth: Hearth, *flags: str) -> Iterator[tuple[Server, openai.OpenAI]]:
    """A server whose data folder has the engine's environment, and OpenAI's client of it."""
    installed("transformers")
    hearth.data.mkdir(parents=True, exist_ok=True)
    (hearth.data / "engines").symlink_to(ENVIRONMENTS)
    with (
        hearth.serving(*flags) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield server, client


def test_the_starter_answers_as_it_does_elsewhere(hearth: Hearth) -> None:
    with serving(hearth, "-m", "starter", "--engine", "transformers") as (_, client):
        answer = client.chat.completions.create(
            model="starter", messages=ASK, temperature=0, max_tokens=200
        )
        # Behind a blank, and in a word: nothing and `u` came where nothing was written again.
        behind_a_blank, in_a_word = (
            client.completions.create(
                model="starter", prompt=prompt, suffix="\n\nprint(add(1, 2))\n", temperature=0
            )
            for prompt in ("def add(a, b):\n    ", "def add(a, b):\n    ret")
        )
        listed = hearth.run("ps", "--json")

    assert answer.choices[0].finish_reason == "stop"
    assert "def " in str(answer.choices[0].message.content)
    assert '"transformers"' in listed.stdout
    assert behind_a_blank.choices[0].text.strip()
    assert in_a_word.choices[0].text.startswith("urn ")


def test_a_checkpoint_by_its_path_serves_openais_client_and_heals(
    hearth: Hearth, tmp_path: Path
) -> None:
    path = tiny_checkpoint(tmp_path / "tiny")
    prompts = ["def", "import os\n"]
    body: Any = {"model": "tiny", "prompt": prompts, "max_tokens": 8, "temperature": 0}

    with serving(hearth, "-m", str(path)) as (server, client):
        whole = client.completions.create(**body)
        chunks = list(client.completions.create(**body, stream=True))
        infilled = client.completions.create(
            model="tiny", prompt="def ", suffix="return", max_tokens=4
        )
        scored = client.completions.create(
            model="tiny", prompt="def add", echo=True, logprobs=1, max_tokens=0
        )
        every_token = [[token] for token in range(len(vocabulary()[0]))]
        likely = likelihoods(server.url, [70, 101, 90], every_token)
        (engine,) = [one for one in server.engines() if "transformers" in " ".join(one.cmdline())]
        engine.kill()
        engine.wait(20)
        again = client.completions.create(**body)
        why = json.loads(hearth.run("ps", "--json").stdout)

    texts = [
        "".join(c.text for chunk in chunks for c in chunk.choices if c.index == index)
        for index in range(2)
    ]
    assert texts == [choice.text for choice in whole.choices]
    assert [choice.text for choice in again.choices] == texts
    assert infilled.usage is not None and infilled.usage.completion_tokens <= 4
    logprobs = scored.choices[0].logprobs
    assert logprobs is not None and scored.choices[0].text == "def add"
    assert logprobs.token_logprobs is not None and logprobs.token_logprobs[0] is None
    assert all(value < 0 for value in logprobs.token_logprobs[1:])
    # Of all tokens one follows, and one is the likeliest.
    assert sum(math.exp(logprob) for logprob, _ in likely) == pytest.approx(1, abs=1e-3)
    assert [is_greedy for _, is_greedy in likely].count(True) == 1
    assert max(likely)[1]
    assert "engine transformers: llama.cpp reads GGUF files only" in str(why)


def likelihoods(
    url: str, context: list[int], continuations: list[list[int]]
) -> list[tuple[float, bool]]:
    """What lm-evaluation-harness asks to score continuations (0.4.13, `local-completions`), and how
    it reads the answer: the sum of their log-probabilities, and whether each token was the
    likeliest. The token that it has to ask for is left out."""
    if len(continuations) > 60:
        rest = likelihoods(url, context, continuations[60:])
        return likelihoods(url, context, continuations[:60]) + rest
    body = {
        "model": "tiny",
        "prompt": [context + continuation for continuation in continuations],
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }
    answer = httpx2.post(f"{url}/v1/completions", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    found = []
    for choice in sorted(answer.json()["choices"], key=lambda choice: choice["index"]):
        logprobs = choice["logprobs"]
        own = logprobs["token_logprobs"][len(context) : -1]
        top = logprobs["top_logprobs"][len(context) : -1]
        assert len(own) == len(continuations[choice["index"]])
        is_greedy = all(mine == max(tops.values()) for mine, tops in zip(own, top, strict=True))
        found.append((sum(own), is_greedy))
    return found


OWN_CODE = """
import sys
from transformers import Qwen2ForCausalLM

print("the checkpoint's own code ran", file=sys.stderr, flush=True)

class OwnForCausalLM(Qwen2ForCausalLM):
    pass
"""


def test_a_checkpoints_own_code_runs_only_where_that_was_allowed(
    hearth: Hearth, tmp_path: Path
) -> None:
    path = tiny_checkpoint(tmp_path / "tiny")
    config = json.loads((path / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    (path / "config.json").write_text(json.dumps(config))
    (path / "modeling_own.py").write_text(OWN_CODE)

    refused = hearth.run("serve", "-m", str(path))
    with serving(hearth, "-m", str(path), "--allow-code", "tiny@path") as (_, client):
        answer = client.completions.create(model="tiny", prompt="def", max_tokens=2)

    assert refused.returncode != 0 and "carries its own Python code" in refused.stderr
    assert answer.usage is not None
    (log,) = (hearth.data / "logs").glob("tiny.log")
    assert "own code ran" in log.read_text()


def test_without_its_engine_a_checkpoint_is_refused_with_the_command(
    hearth: Hearth, tmp_path: Path
) -> None:
    path = tiny_checkpoint(tmp_path / "tiny")

    with hearth.serving("-m", str(path)) as server:
        answer = server.post("/v1/completions", {"model": "tiny", "prompt": "x"})

    assert answer.status_code == 503
    error = answer.json()["error"]
    assert error["code"] == "engine_missing"
    assert "hearth engines install transformers" in json.dumps(error)


def test_llamacpp_says_that_it_does_not_score_a_prompt(server: Server) -> None:
    body = {"model": "starter", "prompt": "x", "echo": True, "logprobs": 1}

    answer = server.post("/v1/completions", body)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "echo"
    assert "transformers" in json.dumps(answer.json())


def test_the_engines_are_listed_with_what_installs_them(hearth: Hearth) -> None:
    listed = hearth.run("engines", "--json")
    shown = hearth.run("engines")
    unknown = hearth.run("engines", "install", "vim")
    removed = hearth.run("engines", "remove", "transformers")

    engines = {one["name"]: one for one in json.loads(listed.stdout)}
    assert engines["llama.cpp"]["state"] == "ready"
    assert engines["transformers"]["state"] == "missing"
    assert "hearth engines install transformers" in engines["transformers"]["hint"]
    assert "hearth engines install transformers" in shown.stdout
    assert unknown.returncode == 2 and "transformers" in unknown.stderr
    assert removed.returncode == 0 and "was not installed" in removed.stderr


@pytest.mark.parametrize("engine", ["tensorrt", ""])
def test_an_engine_that_is_none_is_refused_at_the_start(hearth: Hearth, engine: str) -> None:
    refused = hearth.run("serve", "--engine", engine)

    assert refused.returncode == 2
    assert "llama.cpp" in refused.stderr
