"""OpenAI's routes as OpenAI's own client sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.gateway.served import Served

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as made:
        yield made


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]

    assert listed == ["fake"]
    assert client.models.retrieve("fake").object == "model"


def test_a_chat_answers_whole(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="fake", messages=HELLO)

    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8


def test_a_streamed_chat_is_the_same_text(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="fake", messages=HELLO)

    chunks = list(client.chat.completions.create(model="fake", messages=HELLO, stream=True))

    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_comes_last_when_it_is_asked_for(client: openai.OpenAI) -> None:
    *chunks, last = client.chat.completions.create(
        model="fake", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )

    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == last.usage.prompt_tokens + 8
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_n_gives_that_many_choices(client: openai.OpenAI, stream: bool) -> None:
    answer: Any = client.chat.completions.create(
        model="fake", messages=HELLO, n=3, stream=stream, max_tokens=4
    )

    texts = {0: "", 1: "", 2: ""}
    if stream:
        for chunk in answer:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
    else:
        texts = {choice.index: choice.message.content for choice in answer.choices}
    assert set(texts) == {0, 1, 2}
    assert all(len(text.split()) == 4 for text in texts.values())


def test_a_completion_answers_each_prompt(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="fake", prompt=["a", "b"], n=2, max_tokens=3)

    assert answer.id.startswith("cmpl-")
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12


def test_a_completion_has_sixteen_tokens_unless_told(server: Served, client: openai.OpenAI) -> None:
    client.completions.create(model="fake", prompt="a")

    assert server.models["fake"].control("/fake/last")["body"]["max_tokens"] == 16


@pytest.mark.parametrize("stream", [False, True])
def test_echo_gives_the_prompt_back_first(client: openai.OpenAI, stream: bool) -> None:
    answer: Any = client.completions.create(
        model="fake", prompt="say ", echo=True, max_tokens=2, stream=stream
    )

    chunks = list(answer) if stream else [answer]
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert text.startswith("say ")
    assert len(text.split()) == 3


def test_no_tokens_means_no_tokens(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="fake", prompt="say", echo=True, max_tokens=0)

    assert answer.choices[0].text == "say"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 0


def test_a_suffix_is_laid_out_in_the_models_own_format(
    server: Served, client: openai.OpenAI
) -> None:
    client.completions.create(model="fake", prompt="def f(", suffix="): pass")

    sent = server.models["fake"].control("/fake/last")["body"]
    assert sent["prompt"] == "<|fim_prefix|>def f(<|fim_suffix|>): pass<|fim_middle|>"


def test_only_known_parameters_reach_the_engine(server: Served) -> None:
    status, _ = server.post(
        "/v1/chat/completions",
        {
            "model": "fake",
            "messages": HELLO,
            "n_discard": -1,
            "id_slot": 3,
            "chat_template": "{{ x }}",
            "chat_template_kwargs": {"a": 1},
            "lora": [],
            "user": "me",
        },
    )

    sent = set(server.models["fake"].control("/fake/last")["body"])
    assert status == 200
    assert sent <= {
        "messages",
        "temperature",
        "top_p",
        "cache_prompt",
        "stream",
        "stream_options",
        "return_progress",
    }


def test_a_seed_differs_for_each_choice(server: Served, client: openai.OpenAI) -> None:
    client.chat.completions.create(model="fake", messages=HELLO, seed=-1)

    assert 0 <= server.models["fake"].control("/fake/last")["body"]["seed"] < 2**32


def test_an_unknown_model_is_not_found_with_a_suggestion(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="fakr", messages=HELLO)

    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert "Hint: did you mean fake?" in caught.value.message
    assert "?." not in caught.value.message


def test_no_model_means_the_servers_own(server: Served) -> None:
    status, answer = server.post("/v1/chat/completions", {"messages": HELLO})

    assert (status, answer["model"]) == (200, "fake")


def test_wrong_values_are_bad_requests_that_name_the_field(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="fake", messages=HELLO, temperature=-1)

    assert caught.value.param == "temperature"
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    "extra",
    [
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"schema": {"enum": [*range(600)]}},
            }
        },
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        {"response_format": {"type": "json_object", "schema": {"minLength": 10**8}}},
        {"grammar": "root ::= " + " | ".join(f'"{i}"' for i in range(2000))},
        {"grammar": 'root ::= "a"{1,100000}'},
        {
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"$ref": "http://x"}}}
            ]
        },
        {"tool_choice": "required"},
        {"top_logprobs": 3},
    ],
    ids=lambda extra: json.dumps(extra)[:40],
)
def test_what_would_freeze_or_confuse_an_engine_is_refused(
    server: Served, extra: dict[str, Any]
) -> None:
    status, answer = server.post("/v1/chat/completions", {"messages": HELLO} | extra)

    assert status == 400
    assert answer["error"]["param"]


def test_embeddings_are_refused_by_a_model_that_makes_none(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="does not make embeddings"):
        client.embeddings.create(model="fake", input="hello")
