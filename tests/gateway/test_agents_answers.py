"""What a model writes reaches agents as the client libraries of Anthropic and OpenAI read it."""

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

USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
}


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
