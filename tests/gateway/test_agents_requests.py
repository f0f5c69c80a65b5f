"""What agents send by Anthropic's Messages and OpenAI's Responses reaches the engine as a chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.gateway.served import FakeModel, Served, served

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
ANTHROPIC_TOOL = {"name": "weather", "description": "today's", "input_schema": CITY}
OPENAI_TOOL = {"type": "function", "name": "weather", "description": "today's", "parameters": CITY}
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    models = {
        "fake": FakeModel(flags=("--tokens", "3", "--text", "one two three")),
        "uncounted": FakeModel(flags=("--tokens", "3", "--do", "no-counting")),
        "dying": FakeModel(flags=("--tokens", "6", "--do", "error-event")),
    }
    with served(tmp_path_factory.mktemp("house"), models) as running:
        yield running


def sent(house: Served, model: str = "fake") -> dict[str, Any]:
    body: dict[str, Any] = house.models[model].control("/fake/last")["body"]
    return body


def called(id: str) -> list[dict[str, Any]]:
    """A turn that thinks, speaks and calls, and the tool's answer, as an engine is asked."""
    function = {"name": "weather", "arguments": '{"city":"巴黎"}'}
    return [
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "They ask.",
            "tool_calls": [{"id": id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": id, "content": "rain"},
    ]


def test_a_whole_conversation_of_anthropics_reaches_the_engine_as_a_chat(house: Served) -> None:
    status, answer = house.post(
        "/v1/messages",
        {
            "model": "fake",
            "max_tokens": 50,
            "system": [
                {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "Use tools."},
            ],
            "metadata": {"user_id": "somebody"},
            "thinking": {"type": "enabled", "budget_tokens": 2000},
            "tools": [ANTHROPIC_TOOL, {"type": "web_search_20250305", "name": "web_search"}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "stop_sequences": ["END"],
            "messages": [
                {"role": "user", "content": "What is the weather?"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "They ask.", "signature": ""},
                        {"type": "text", "text": "I look."},
                        {
                            "type": "tool_use",
                            "id": "toolu_1",
                            "name": "weather",
                            "input": {"city": "巴黎"},
                        },
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "toolu_1",
                            "content": [{"type": "text", "text": "rain"}],
                        },
                        {"type": "text", "text": "And now?"},
                    ],
                },
            ],
        },
    )

    assert status == 200, answer
    body = sent(house)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief.\n\nUse tools."},
        {"role": "user", "content": "What is the weather?"},
        *called("toolu_1"),
        {"role": "user", "content": "And now?"},
    ]
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather"]
    assert body["tools"][0]["function"]["parameters"] == CITY
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)
    assert (body["max_tokens"], body["stop"]) == (50, ["END"])


def test_a_whole_conversation_of_openais_responses_reaches_the_engine_as_a_chat(
    house: Served,
) -> None:
    status, answer = house.post(
        "/v1/responses",
        {
            "model": "fake",
            "instructions": "Be brief.",
            "max_output_tokens": 50,
            "tools": [OPENAI_TOOL, {"type": "web_search"}],
            "tool_choice": {"type": "function", "name": "weather"},
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "input": [
                {
                    "type": "message",
                    "role": "developer",
                    "content": [{"type": "input_text", "text": "In a shell."}],
                },
                {"role": "user", "content": "What is the weather?"},
                {
                    "type": "reasoning",
                    "id": "rs_1",
                    "summary": [{"type": "summary_text", "text": "They ask."}],
                    "encrypted_content": None,
                },
                {
                    "type": "message",
                    "id": "msg_1",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
                },
                {
                    "type": "function_call",
                    "call_id": "call_1",
                    "name": "weather",
                    "arguments": '{"city":"巴黎"}',
                },
                {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
            ],
        },
    )

    assert status == 200, answer
    body = sent(house)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "In a shell."},
        {"role": "user", "content": "What is the weather?"},
        *called("call_1"),
    ]
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather"]
    assert body["max_tokens"] == 50


def test_a_schema_that_a_response_must_have_reaches_the_engine(house: Served) -> None:
    wanted = {"type": "json_schema", "name": "city", "schema": CITY, "strict": True}

    status, answer = house.post(
        "/v1/responses", {"model": "fake", "input": "hi", "text": {"format": wanted}}
    )

    assert status == 200, answer
    assert sent(house)["response_format"]["json_schema"]["schema"] == CITY
    assert answer["text"]["format"]["name"] == "city"


def test_a_tool_with_bounds_that_would_stall_an_engine_is_taken_without_them(house: Served) -> None:
    """Claude Code's own tools have a `maxLength` of 524288: each of its requests was refused."""
    tool = {
        "name": "run",
        "input_schema": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "description": "to run", "maxLength": 524_288},
                "short": {"type": "string", "maxLength": 12, "pattern": "^[a-z]{1,12}$"},
                "long": {"type": "string", "pattern": "^[a-z]{1,90000}$"},
                "all": {"type": "array", "maxItems": 10**9, "items": {"type": "string"}},
                "maxLength": {"type": "integer"},
            },
            "required": ["code"],
        },
    }

    status, answer = house.post("/v1/messages", {"model": "fake", "messages": HI, "tools": [tool]})

    assert status == 200, answer
    sent_properties = sent(house)["tools"][0]["function"]["parameters"]["properties"]
    assert sent_properties == {
        "code": {"type": "string", "description": "to run"},
        "short": {"type": "string", "maxLength": 12, "pattern": "^[a-z]{1,12}$"},
        "long": {"type": "string"},
        "all": {"type": "array", "items": {"type": "string"}},
        "maxLength": {"type": "integer"},
    }


PICTURE = {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:1/x.png"}}


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/messages", {"messages": []}, "messages"),
        ("/v1/messages", {"messages": [{"role": "user"}]}, "messages[0].content"),
        ("/v1/messages", {"messages": [{"role": "wizard", "content": ""}]}, "messages[0].role"),
        ("/v1/messages", {"messages": [{"role": "user", "content": [PICTURE]}]}, "text only"),
        (
            "/v1/messages",
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "1", "content": [PICTURE]}
                        ],
                    }
                ]
            },
            "text only",
        ),
        ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 0}, "max"),
        ("/v1/responses", {}, "input"),
        ("/v1/responses", {"input": []}, "input"),
        (
            "/v1/responses",
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "text only",
        ),
        ("/v1/responses", {"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
        ("/v1/responses", {"input": "hi", "previous_response_id": "resp_1"}, "keeps no responses"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_field(
    house: Served, path: str, body: dict[str, Any], told: str
) -> None:
    status, answer = house.post(path, {"model": "fake"} | body)

    assert status == 400
    assert told in answer["error"]["message"]
    if path == "/v1/messages":
        assert (answer["type"], answer["error"]["type"]) == ("error", "invalid_request_error")


@pytest.mark.parametrize("model", ["fake", "uncounted"])
def test_tokens_are_counted_with_every_engine(house: Served, model: str) -> None:
    """One that does not count is asked for one token, and tells what it read."""
    status, answer = house.post(
        "/v1/messages/count_tokens",
        {
            "model": model,
            "messages": [{"role": "user", "content": "hi"}],
            "tools": [ANTHROPIC_TOOL],
        },
    )

    assert (status, answer) == (200, {"input_tokens": 7})


def test_an_answer_that_breaks_off_ends_with_the_errors_of_its_dialect(house: Served) -> None:
    asked = {"model": "dying", "stream": True, "max_tokens": 6}
    messages = {"messages": [{"role": "user", "content": "hi"}]}

    with anthropic.Anthropic(base_url=house.url, api_key="none", max_retries=0) as client:
        options: Any = asked | messages
        with pytest.raises(anthropic.APIStatusError):
            list(client.messages.create(**options))
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key="none", max_retries=0) as client_2:
        events = list(client_2.responses.create(model="dying", input="hi", stream=True))

    assert events[-1].type == "error"
