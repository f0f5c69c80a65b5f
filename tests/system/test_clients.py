"""Real clients against the real server with the real starter model."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.system.conftest import Hearth, Server
from tests.tiny_models import tiny_embedder

ASK: Any = [{"role": "user", "content": "Write a function that reverses a string"}]
CLIENTS = Path(__file__).parent.parent / "clients"


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_the_starter_writes_a_function_and_stops_by_itself(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="starter", messages=ASK, temperature=0, max_tokens=300
    )

    assert answer.choices[0].finish_reason == "stop"
    assert "def " in str(answer.choices[0].message.content)


def test_streamed_and_whole_are_the_same_text(client: openai.OpenAI) -> None:
    options: Any = {"model": "starter", "messages": ASK, "temperature": 0, "max_tokens": 100}
    whole = client.chat.completions.create(**options)

    chunks = list(client.chat.completions.create(**options, stream=True))

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content


def test_log_probabilities_have_both_shapes(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(
        model="starter", messages=ASK, max_tokens=4, logprobs=True, top_logprobs=2, temperature=0
    )
    legacy = client.completions.create(
        model="starter", prompt="def add(a, b):\n", max_tokens=4, logprobs=3, temperature=0
    )

    tokens = chat.choices[0].logprobs.content  # type: ignore[union-attr]
    assert tokens and all(len(token.top_logprobs) == 2 for token in tokens)
    got = legacy.choices[0].logprobs
    assert got is not None and got.tokens and got.text_offset and got.top_logprobs
    assert "".join(got.tokens) == legacy.choices[0].text
    assert got.text_offset[0] == 0
    assert all(len(top) == 3 for top in got.top_logprobs)


def test_a_seed_repeats_an_answer(client: openai.OpenAI) -> None:
    options: Any = {"model": "starter", "messages": ASK, "max_tokens": 40, "temperature": 1.0}

    first, second = (
        client.chat.completions.create(**options, seed=7).choices[0].message.content
        for _ in range(2)
    )

    assert first == second


def test_a_stop_text_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="starter", prompt="def add(a, b):\n    ", max_tokens=60, stop=["\n"], temperature=0
    )

    assert "\n" not in answer.choices[0].text
    assert answer.choices[0].finish_reason == "stop"


def test_prompts_may_be_text_or_tokens_one_or_many(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="starter", prompt=[[100, 101], [102]], max_tokens=3, echo=True, temperature=0
    )

    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.usage is not None and answer.usage.prompt_tokens == 3


def test_a_suffix_is_filled_in(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="starter",
        prompt="def add(a, b):\n    ",
        suffix="\n\nprint(add(1, 2))\n",
        max_tokens=30,
        temperature=0,
    )

    assert "<|" not in answer.choices[0].text


def test_a_schema_is_obeyed(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"enum": ["ada", "bob"]}, "ok": {"type": "boolean"}},
        "required": ["name", "ok"],
        "additionalProperties": False,
    }

    answer = client.chat.completions.create(
        model="starter",
        messages=ASK,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        max_tokens=60,
    )

    said = json.loads(str(answer.choices[0].message.content))
    assert said["name"] in ("ada", "bob") and isinstance(said["ok"], bool)


def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="starter", messages=[{"role": "user", "content": "word " * 20_000}]
        )

    assert caught.value.code == "context_length_exceeded"
    body: Any = caught.value.body
    assert body["num_prompt_tokens"] > body["num_context_tokens"] > 0
    assert str(body["num_context_tokens"]) in caught.value.message


def test_text_that_is_not_ascii_survives(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="starter", prompt="# 你好 👩‍👩‍👧 ñ\n", echo=True, max_tokens=1
    )

    assert answer.choices[0].text.startswith("# 你好 👩‍👩‍👧 ñ\n")


def test_responses_and_messages_answer_too(server: Server, client: openai.OpenAI) -> None:
    response = client.responses.create(
        model="starter", input="Write a function that adds two numbers", max_output_tokens=20
    )
    message = server.post(
        "/v1/messages", {"model": "starter", "messages": ASK, "max_tokens": 20}
    ).json()

    assert response.output_text
    assert (message["type"], message["role"]) == ("message", "assistant")
    assert message["content"][0]["text"]
    assert message["usage"]["output_tokens"] > 0


def test_responses_stream_events_of_the_client_library(client: openai.OpenAI) -> None:
    kinds = [
        event.type
        for event in client.responses.create(
            model="starter", input="hello", max_output_tokens=5, stream=True
        )
    ]

    assert kinds[0] == "response.created"
    assert "response.output_text.delta" in kinds
    assert kinds[-1] in ("response.completed", "response.incomplete")


def test_the_simple_endpoints_answer(server: Server) -> None:
    chat = server.post("/", {"prompt": "你好"}).json()
    code = server.post("/", {"data": "# this function prints hello world"})
    form = server.get("/health")  # a PUT is tested with curl's own form below
    tagged = server.post("/", {"lang": "python", "prompt": "# write a bubble sort function\n"})

    assert set(chat) == {"response", "status", "time"} and chat["status"] == 200
    assert code.headers["content-type"].startswith("text/plain")
    assert form.status_code == 200
    assert set(tagged.json()) == {"response", "lang", "status", "time"}


def test_an_embedding_model_embeds_and_does_not_chat(hearth: Hearth, tmp_path: Path) -> None:
    model = tiny_embedder(tmp_path)
    with (
        hearth.serving("-m", str(model)) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        plain = client.embeddings.create(
            model=model.stem, input=["def f", "class A"], encoding_format="float"
        )
        packed = client.embeddings.create(model=model.stem, input="def f", dimensions=8)

        assert [item.index for item in plain.data] == [0, 1]
        assert len(plain.data[0].embedding) == 192
        assert len(packed.data[0].embedding) == 8
        assert sum(x * x for x in packed.data[0].embedding) == pytest.approx(1, abs=1e-3)
        assert plain.usage.prompt_tokens > 0
        with pytest.raises(openai.BadRequestError, match="does not chat"):
            client.chat.completions.create(model=model.stem, messages=ASK)
        with pytest.raises(openai.BadRequestError, match="does not make embeddings"):
            client.embeddings.create(model="starter", input="def f")


def test_anthropics_client_gets_messages(server: Server) -> None:
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as client:
        options: Any = {
            "model": "starter",
            "messages": ASK,
            "max_tokens": 30,
            "extra_body": {"temperature": 0},
        }
        whole = client.messages.create(**options)
        with client.messages.stream(**options) as stream:
            text = stream.get_final_text()

        assert whole.content[0].type == "text"
        assert whole.content[0].text == text
        assert whole.stop_reason in ("end_turn", "max_tokens")
        assert client.messages.count_tokens(model="starter", messages=ASK).input_tokens > 5
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(**(options | {"model": "nobody"}))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("flag", ["-d", "-F"])
def test_curl_puts_a_form(server: Server, flag: str) -> None:
    done = subprocess.run(
        ["curl", "-sf", "-X", "PUT", f"{server.url}/", flag, "data=def add(a, b):"],
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0


@pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "node_modules" / "openai").is_dir(),
    reason="node or its openai package is not installed",
)
def test_openais_javascript_client_chats_completes_and_streams(server: Server) -> None:
    done = subprocess.run(
        ["node", str(CLIENTS / "openai.mjs"), f"{server.url}/v1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "models": ["starter"],
        "chat": True,
        "streamed": True,
        "completion": True,
        "notFound": "model_not_found",
        "badRequest": "temperature",
    }
