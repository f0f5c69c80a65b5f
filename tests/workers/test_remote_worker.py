"""Which server is asked, what is said to it, and what its refusals mean."""

from __future__ import annotations

import asyncio
import contextlib

import httpx2
import pytest

from codehearth.workers.remote import Proxy, Upstream, choose
from codehearth.workers.transformers.listener import Refused, Stream
from codehearth.workers.translation import passed_on, refusal_of, with_chat_logprobs


def test_the_well_one_with_the_least_to_do_is_asked() -> None:
    ill, busy, free = Upstream("ill", ""), Upstream("busy", ""), Upstream("free", "")
    ill.left_alone_until, busy.num_in_flight, free.num_in_flight = 20.0, 3, 2

    assert choose([ill, busy, free], now=10.0) is free
    assert choose([ill, busy, free], now=30.0) is ill


def test_where_none_is_well_the_soonest_is_tried() -> None:
    first, second = Upstream("a", ""), Upstream("b", "")
    first.left_alone_until, second.left_alone_until = 30.0, 20.0

    assert choose([first, second], now=10.0) is second


def test_only_what_openai_knows_is_passed_on() -> None:
    asked = {
        "prompt": "x",
        "max_tokens": 5,
        "top_k": 0,
        "min_p": 0.0,
        "repeat_penalty": 1.0,
        "cache_prompt": True,
        "return_progress": True,
        "logit_bias": [[7, 1.5]],
        "temperature": 0.2,
    }

    assert passed_on(asked, is_chat=False) == {
        "prompt": "x",
        "max_tokens": 5,
        "temperature": 0.2,
        "logit_bias": {"7": 1.5},
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_what_says_something_is_passed_on_under_the_name_it_has_there() -> None:
    body = passed_on({"messages": [], "top_k": 20, "repeat_penalty": 1.1}, is_chat=True)

    assert (body["top_k"], body["repetition_penalty"]) == (20, 1.1)


def test_legacy_log_probabilities_get_chats_form() -> None:
    legacy = {"tokens": ["é"], "token_logprobs": [-0.5], "top_logprobs": [{"é": -0.5, "e": -1.0}]}
    chunk = {"choices": [{"text": "é", "logprobs": legacy}]}

    (choice,) = with_chat_logprobs(chunk)["choices"]

    entry = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    other = {"token": "e", "logprob": -1.0, "bytes": [101]}
    assert choice["logprobs"] == {"content": [entry | {"top_logprobs": [entry, other]}]}


def test_a_chunk_that_is_no_object_is_an_error() -> None:
    with pytest.raises(ValueError, match="no object"):
        with_chat_logprobs([])


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (400, 400, "no such thing"),
        (401, 502, "they refuses our key"),
        (404, 502, "they: no such thing"),
        (429, 503, "they: no such thing"),
        (500, 503, "they: no such thing"),
    ],
)
def test_what_another_server_refuses_is_the_clients_fault_or_not(
    theirs: int, ours: int, message: str
) -> None:
    refused = refusal_of(theirs, b'{"error": {"message": "no such thing"}}', "they")

    assert (refused.status, str(refused)) == (ours, message)


def test_an_error_without_an_end_is_read_as_far_as_an_error_goes() -> None:
    """All of it was kept in memory, for as long as the other server went on."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 Error\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 4096)
                await writer.drain()
        writer.close()

    async def story() -> None:
        async with (
            await asyncio.start_server(endless, "127.0.0.1", 0) as server,
            httpx2.AsyncClient() as client,
            asyncio.timeout(20),
        ):
            port = server.sockets[0].getsockname()[1]
            proxy = Proxy([Upstream(f"http://127.0.0.1:{port}/v1", "m")], client, "m")
            answer = await proxy.answer("POST", "/v1/completions", b'{"prompt": "x"}')
            assert isinstance(answer, Stream)
            with pytest.raises(Refused, match=r"the other server: x+$"):
                await anext(answer.chunks)
            assert not proxy._upstreams[0].num_in_flight

    asyncio.run(story())
