"""Anthropic's Messages and OpenAI's Responses: what agents send reaches the engine as a chat, and
what it writes reaches them as their own client libraries read it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anthropic
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.errors import UpstreamFailed
from codehearth.gateway.dialects.anthropic_answers import MessageDialect
from codehearth.gateway.dialects.responses_answers import ResponseDialect
from codehearth.gateway.engine.chunks import Piece
from codehearth.wire.responses import ResponsesRequest
from tests.gateway.served import FakeModel, Served, served

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
ANTHROPIC_TOOL = {"name": "weather", "description": "today's", "input_schema": CITY}
OPENAI_TOOL = {"type": "function", "name": "weather", "description": "today's", "parameters": CITY}
HI = [{"role": "user", "content": "hi"}]
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
}


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


# --- what is asked ---


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
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "They ask.",
            "tool_calls": [
                {
                    "id": "toolu_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city":"巴黎"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "rain"},
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
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "They ask.",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city":"巴黎"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
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


# --- what is answered ---


@contextmanager
def answering(data: bytes, content_type: str) -> Iterator[str]:
    """A server on loopback that answers every request with these bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def call(index: int, *, id: str | None = None, name: str = "", arguments: str = "") -> Piece:
    part: dict[str, Any] = {"index": index, "function": {"name": name, "arguments": arguments}}
    return Piece(delta={"tool_calls": [part | ({"id": id} if id else {})]})


PIECES = (
    Piece(delta={"reasoning_content": "They "}),
    Piece(delta={"reasoning_content": "ask."}),
    Piece(delta={"content": "I "}),
    Piece(delta={"content": "look 🙂."}),
    call(0, id="call_a", name="weather", arguments='{"city":'),
    call(0, arguments='"巴黎"}'),
    call(1, id="call_b", name="weather", arguments="{}"),
    Piece(finish_reason="tool_calls"),
    Piece(usage=USAGE),
)


def message_bytes(pieces: Sequence[Piece]) -> bytes:
    dialect = MessageDialect("fake")
    return b"".join(dialect.piece(0, piece) for piece in pieces) + dialect.closing([USAGE])


def test_anthropics_client_puts_a_stream_together_to_the_whole_message() -> None:
    options: Any = {"model": "fake", "max_tokens": 9, "messages": [{"role": "user", "content": ""}]}
    whole = MessageDialect("fake").whole([PIECES], [USAGE])

    with (
        answering(message_bytes(PIECES), "text/event-stream") as url,
        anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client,
        client.messages.stream(**options) as stream,
    ):
        streamed = stream.get_final_message()

    assert [block.type for block in streamed.content] == [
        "thinking",
        "text",
        "tool_use",
        "tool_use",
    ]
    shown = [block.model_dump(exclude_none=True) for block in streamed.content]
    for block, one in zip(shown, whole["content"], strict=True):
        assert {name: block.get(name) for name in one} == one
    assert whole["content"][2]["input"] == {"city": "巴黎"}
    assert streamed.stop_reason == whole["stop_reason"] == "tool_use"
    used = {"input_tokens": 7, "cache_read_input_tokens": 4, "output_tokens": 5}
    assert {name: whole["usage"][name] for name in used} == used
    assert {name: getattr(streamed.usage, name) for name in used} == used


def test_openais_client_puts_a_stream_together_to_the_whole_response() -> None:
    asked = ResponsesRequest(input="hi")
    dialect = ResponseDialect("fake", asked)
    data = dialect.opening(0) + b"".join(dialect.piece(0, piece) for piece in PIECES)
    whole = ResponseDialect("fake", asked).whole([PIECES], [USAGE])

    with (
        answering(data + dialect.closing([USAGE]), "text/event-stream") as url,
        openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client,
        client.responses.stream(model="fake", input="hi") as stream,
    ):
        events = list(stream)
        streamed = stream.get_final_response()

    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(numbers)
    assert streamed.output_text == "I look 🙂."
    types = [item.type for item in streamed.output]
    assert types == ["reasoning", "message", "function_call", "function_call"]
    made: Any = streamed.output[2]
    assert (made.call_id, made.arguments) == ("call_a", '{"city":"巴黎"}')
    assert [_plain(item) for item in whole["output"]] == [
        _plain(item.model_dump(exclude_none=True)) for item in streamed.output
    ]
    assert whole["status"] == streamed.status == "completed"
    assert streamed.usage is not None and streamed.usage.total_tokens == 16


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """What an item says, without its random id and what the library adds."""
    kept = ("type", "role", "status", "call_id", "name", "arguments")
    texts = [part["text"] for part in item.get("content") or ()]
    return {name: item.get(name) for name in kept} | {"texts": texts}


@pytest.mark.parametrize(
    ("finish_reason", "anthropics", "openais"),
    [("stop", "end_turn", "completed"), ("length", "max_tokens", "incomplete")],
)
def test_how_an_answer_ended_is_told(finish_reason: str, anthropics: str, openais: str) -> None:
    pieces = [Piece(delta={"content": "x"}), Piece(finish_reason=finish_reason)]

    message = MessageDialect("fake").whole([pieces], [USAGE])
    response = ResponseDialect("fake", ResponsesRequest(input="hi")).whole([pieces], [USAGE])

    assert message["stop_reason"] == anthropics
    assert response["status"] == openais
    reason = response["incomplete_details"]
    assert reason == ({"reason": "max_output_tokens"} if openais == "incomplete" else None)


def test_a_call_that_the_limit_cut_is_told_as_cut_and_a_broken_one_as_a_fault() -> None:
    begun = call(0, id="call_a", name="weather", arguments='{"city": "Par')

    cut = MessageDialect("fake").whole([[begun, Piece(finish_reason="length")]], [USAGE])

    assert cut["stop_reason"] == "max_tokens"
    assert cut["content"][-1]["input"] == {}
    with pytest.raises(UpstreamFailed):
        MessageDialect("fake").whole([[begun, Piece(finish_reason="tool_calls")]], [USAGE])


def test_an_answer_without_a_word_is_a_message_all_the_same() -> None:
    data = message_bytes([Piece(finish_reason="stop")])

    kinds = [line[7:].decode() for line in data.split(b"\n") if line.startswith(b"event: ")]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


texts = st.lists(st.text(min_size=1, max_size=8), max_size=4)


@given(thoughts=texts, words=texts, arguments=texts)
def test_deltas_of_any_answer_add_up(
    thoughts: list[str], words: list[str], arguments: list[str]
) -> None:
    pieces = [Piece(delta={"reasoning_content": text}) for text in thoughts]
    pieces += [Piece(delta={"content": text}) for text in words]
    pieces += [call(0, id="c", name="f")] + [call(0, arguments=text) for text in arguments]
    pieces.append(Piece(finish_reason="length"))

    events = [
        json.loads(line[6:])
        for line in message_bytes(pieces).split(b"\n")
        if line.startswith(b"data: ")
    ]

    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    for name, wanted in (("thinking", thoughts), ("text", words), ("partial_json", arguments)):
        assert "".join(delta.get(name, "") for delta in deltas) == "".join(wanted)
    starts = [event["index"] for event in events if event["type"] == "content_block_start"]
    stops = [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert starts == stops == list(range(len(starts)))
