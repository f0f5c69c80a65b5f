"""Editors' client libraries against the real server with the real starter model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest
from mistralai.client import Mistral

from codehearth.models.weights import read_weights
from tests.cli.command_line import STARTER
from tests.system.conftest import Hearth, Server
from tests.tiny_models import tiny_embedder, tiny_qwen2

CONTEXT = read_weights(STARTER).context_tokens
PREFIX = "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    ret"
SUFFIX = "\n\n\nprint(subtract(2, 1))\n"
ASK: Any = [{"role": "user", "content": "Write a function that reverses a string"}]


@pytest.fixture(scope="module")
def clients(server: Server) -> Iterator[tuple[openai.OpenAI, Mistral, ollama.Client]]:
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as theirs,
        Mistral(api_key="none", server_url=server.url) as mistral,
        ollama.Client(host=server.url) as olla,
    ):
        yield theirs, mistral, olla


def test_every_client_gets_the_same_middle_whole_and_streamed(
    clients: tuple[openai.OpenAI, Mistral, ollama.Client], server: Server
) -> None:
    theirs, mistral, olla = clients
    asked: Any = {"model": "starter", "prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 64}
    options = {"num_predict": 64}

    texts = {
        "openai": theirs.completions.create(**asked).choices[0].text,
        "openai streamed": "".join(
            chunk.choices[0].text for chunk in theirs.completions.create(**asked, stream=True)
        ),
        "mistral": mistral.fim.complete(**asked).choices[0].message.content,
        "mistral streamed": "".join(
            str(event.data.choices[0].delta.content or "") for event in mistral.fim.stream(**asked)
        ),
        "ollama": olla.generate("starter", PREFIX, suffix=SUFFIX, options=options).response,
        "ollama streamed": "".join(
            part.response
            for part in olla.generate(
                "starter", PREFIX, suffix=SUFFIX, options=options, stream=True
            )
        ),
        "llama.cpp": server.post(
            "/infill", {"input_prefix": PREFIX, "input_suffix": SUFFIX, "n_predict": 64}
        ).json()["content"],
        "tabby": server.post(
            "/v1/completions", {"segments": {"prefix": PREFIX, "suffix": SUFFIX}}
        ).json()["choices"][0]["text"],
    }

    assert texts["openai"].startswith("urn")
    assert set(texts.values()) == {texts["openai"]}, texts


def test_a_template_for_another_family_gives_the_same_middle(
    clients: tuple[openai.OpenAI, Mistral, ollama.Client],
) -> None:
    theirs = clients[0].completions
    asked: Any = {"model": "starter", "max_tokens": 64}

    plain = theirs.create(prompt=PREFIX, suffix=SUFFIX, **asked)
    templated = theirs.create(
        prompt=f"<fim_prefix>{PREFIX}<fim_suffix>{SUFFIX}<fim_middle>", **asked
    )

    assert templated.choices[0].text == plain.choices[0].text


def test_ollamas_client_chats_lists_and_shows(
    clients: tuple[openai.OpenAI, Mistral, ollama.Client],
) -> None:
    olla = clients[2]

    answer = olla.chat("starter", ASK, options={"temperature": 0, "num_predict": 200})
    streamed = list(
        olla.chat("starter", ASK, options={"temperature": 0, "num_predict": 200}, stream=True)
    )

    assert "def " in str(answer.message.content)
    assert answer.done_reason == "stop"
    assert (answer.eval_count or 0) > 5 and (answer.eval_duration or 0) > 0
    assert "".join(str(part.message.content or "") for part in streamed) == answer.message.content
    assert [model.model for model in olla.list().models] == ["starter"]
    assert olla.ps().models[0].context_length == CONTEXT
    shown = olla.show("starter")
    assert ".Suffix" in str(shown.template)
    assert "insert" in (shown.capabilities or ())
    assert shown.modelinfo is not None
    assert shown.modelinfo["qwen2.context_length"] == CONTEXT


def test_a_schema_binds_what_ollamas_client_gets(
    clients: tuple[openai.OpenAI, Mistral, ollama.Client],
) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}

    answer = clients[2].generate("starter", "a number", format=schema)

    assert json.loads(answer.response)["n"] in (1, 2)


def test_ollamas_client_reads_our_errors(
    clients: tuple[openai.OpenAI, Mistral, ollama.Client],
) -> None:
    with pytest.raises(ollama.ResponseError, match="not known here"):
        clients[2].generate("nobody", "x")
    with pytest.raises(ollama.ResponseError, match="hearth pull"):
        clients[2].pull("starter")


def test_mistrals_client_reads_our_errors(
    clients: tuple[openai.OpenAI, Mistral, ollama.Client],
) -> None:
    with pytest.raises(Exception, match="not known here"):
        clients[1].fim.complete(model="nobody", prompt="x")


def test_ollamas_client_makes_embeddings(hearth: Hearth) -> None:
    path = tiny_embedder(hearth.home)
    with hearth.serving("-m", str(path)) as server, ollama.Client(host=server.url) as client:
        answer = client.embed(path.stem, ["a", "b"])

    assert len(answer.embeddings) == 2
    assert (answer.prompt_eval_count or 0) > 0


def test_a_text_beyond_the_context_is_cut_around_the_cursor_and_the_answer_says_so(
    server: Server,
) -> None:
    long_prefix = "".join(f"value_{number} = {number} * {number}\n" for number in range(4000))

    answer = server.post(
        "/v1/completions",
        {"prompt": long_prefix + PREFIX, "suffix": SUFFIX * 2000, "max_tokens": 32},
    )

    assert answer.status_code == 200
    assert "lines before the cursor" in answer.headers["x-hearth-cut"]
    assert "lines after the cursor" in answer.headers["x-hearth-cut"]
    assert answer.json()["usage"]["prompt_tokens"] < CONTEXT


def test_while_a_long_text_is_typed_its_beginning_stays_in_the_cache(server: Server) -> None:
    """The cut moves in steps, and the suffix stands before what is typed."""
    long_prefix = "".join(f"value_{number} = {number} * {number}\n" for number in range(4000))
    typed = "total = value_1 + value_2 * 3"

    cached = []
    for length in range(1, len(typed)):
        answer = server.post(
            "/v1/completions",
            {"prompt": long_prefix + typed[:length], "suffix": SUFFIX, "max_tokens": 4},
        )
        if "x-hearth-recalled" not in answer.headers:
            usage = answer.json()["usage"]
            cached.append(usage["prompt_tokens_details"]["cached_tokens"] / usage["prompt_tokens"])

    assert len(cached) > 5
    assert min(cached[2:]) > 0.95


def test_a_warm_up_fills_the_cache(server: Server) -> None:
    text = "".join(f"warm_{number} = {number}\n" for number in range(100))
    asked = {"input_prefix": text, "input_suffix": SUFFIX, "prompt": ""}

    warmed = server.post("/infill", asked | {"n_predict": 0}).json()
    answer = server.post("/infill", asked | {"prompt": "tot", "n_predict": 4}).json()

    assert warmed["content"] == ""
    assert answer["timings"]["cache_n"] > 10 * answer["timings"]["prompt_n"]


def test_a_model_without_infilling_marks_says_so(hearth: Hearth, tmp_path: Path) -> None:
    """On routes where the client knows; an editor's own routes continue the prefix."""
    path = tiny_qwen2(tmp_path)
    with hearth.serving("-m", str(path)) as server:
        refused = server.post("/v1/completions", {"prompt": "a", "suffix": "b"})
        continued = server.post("/infill", {"input_prefix": "a\nb", "input_suffix": "c"})

    can_infill = refused.status_code == 200
    assert can_infill or refused.json()["error"]["param"] == "suffix"
    assert can_infill or "x-hearth-suffix" in continued.headers
    assert continued.status_code == 200
