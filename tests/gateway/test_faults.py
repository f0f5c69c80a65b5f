"""Clients that leave, engines that die or lie: what a user sees, and what others notice."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from codehearth.pool import Limits
from tests.gateway.served import FakeModel, Served, served

CHAT = "/v1/chat/completions"


def hello(**more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hello"}]} | more


def eventually(is_so: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    """Whether it becomes so; the time is a bound for a broken server, not a claim."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if is_so():
            return True
        time.sleep(0.01)
    return False


def open_request(server: Served, body: dict[str, Any], *, key: str = "none") -> socket.socket:
    data = json.dumps(body).encode()
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    raw.sendall(
        f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        + data
    )
    return raw


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_its_generation(tmp_path: Path, stream: bool) -> None:
    slow = FakeModel(flags=("--tokens", "100000", "--token-delay-s", "0.01"))
    with served(tmp_path, {"fake": slow}) as server:
        raw = open_request(server, hello(stream=stream))
        assert eventually(lambda: slow.num_running() == 1)

        raw.close()

        assert eventually(lambda: slow.num_running() == 0)
        assert eventually(lambda: server.house.pool.status()[0].in_flight == 0)


def test_a_client_that_leaves_the_queue_is_forgotten(tmp_path: Path) -> None:
    slow = FakeModel(flags=("--tokens", "100000", "--token-delay-s", "0.01"), num_slots=1)
    with served(tmp_path, {"fake": slow}, limits=Limits(overcommit=0)) as server:
        first = open_request(server, hello())
        second = open_request(server, hello())
        assert eventually(
            lambda: bool(server.house.pool.status()) and server.house.pool.status()[0].waiting == 1
        )

        second.close()

        assert eventually(lambda: server.house.pool.status()[0].waiting == 0)
        first.close()
        assert slow.control("/fake/stats")["total"] == 1


def stream_text(server: Served) -> str:
    return server.request("POST", CHAT, hello(stream=True))[2].decode()


@pytest.mark.parametrize(
    "misbehaviour", ["die-mid-stream", "cut", "no-done", "error-event", "bad-json", "half-frame"]
)
def test_a_stream_never_ends_as_if_it_were_whole(tmp_path: Path, misbehaviour: str) -> None:
    model = FakeModel(flags=("--tokens", "8", "--do", misbehaviour))
    with served(tmp_path, {"fake": model}) as server:
        text = stream_text(server)

        if misbehaviour == "half-frame":
            assert text.endswith("data: [DONE]\n\n")
            assert '"error"' not in text
        else:
            assert "[DONE]" not in text
            assert '"error"' in text


@pytest.mark.parametrize("misbehaviour", ["die-mid-stream", "cut", "no-done", "error-500"])
def test_a_whole_answer_is_whole_or_an_error(tmp_path: Path, misbehaviour: str) -> None:
    model = FakeModel(flags=("--tokens", "8", "--do", misbehaviour))
    with served(tmp_path, {"fake": model}) as server:
        status, answer = server.post(CHAT, hello())

        assert status in (502, 503)
        assert answer["error"]["message"]
        assert "/" not in answer["error"]["message"].replace("hearth logs", "")


def test_after_a_killed_engine_the_next_request_is_answered(fresh: Served) -> None:
    assert fresh.post(CHAT, hello())[0] == 200
    pid = fresh.models["fake"].control("/fake/stats")["pid"]

    os.kill(pid, signal.SIGKILL)

    assert fresh.post(CHAT, hello())[0] == 200


def test_an_engine_that_cannot_start_is_a_503_with_a_cause(tmp_path: Path) -> None:
    broken = FakeModel(
        flags=("--do", "die-at-start", "--last-words", "error: failed to load /secret/place/x.gguf")
    )
    with served(tmp_path, {"fake": broken}) as server:
        status, headers, data = server.request("POST", CHAT, hello())

        assert status == 503
        assert headers["retry-after"]
        assert b"failed to load" in data
        assert b"/secret" not in data


def test_too_many_requests_are_sent_away_with_a_time_to_come_back(tmp_path: Path) -> None:
    slow = FakeModel(flags=("--tokens", "100000", "--token-delay-s", "0.01"), num_slots=1)
    with served(tmp_path, {"fake": slow}, limits=Limits(max_waiting=2, overcommit=0)) as server:
        waiting = [open_request(server, hello())]
        assert eventually(lambda: slow.num_running() == 1)
        waiting += [open_request(server, hello()) for _ in range(2)]
        assert eventually(lambda: server.house.pool.status()[0].waiting == 2)

        status, headers, data = server.request("POST", CHAT, hello())

        assert status == 503
        assert int(headers["retry-after"]) >= 1
        assert json.loads(data)["error"]["code"] == "overloaded"
        for raw in waiting:
            raw.close()


def test_one_key_cannot_fill_the_queue(tmp_path: Path) -> None:
    slow = FakeModel(flags=("--tokens", "100000", "--token-delay-s", "0.01"), num_slots=1)
    with served(tmp_path, {"fake": slow}, max_requests_per_key=1) as server:
        greedy, modest = server.keys.create("greedy"), server.keys.create("modest")
        raw = open_request(server, hello(), key=greedy)
        assert eventually(lambda: slow.num_running() == 1)

        status, headers, data = server.request(
            "POST", CHAT, hello(), {"Authorization": f"Bearer {greedy}"}
        )
        other = server.request("GET", "/v1/models", headers={"X-Api-Key": modest})[0]

        assert (status, other) == (429, 200)
        assert headers["retry-after"]
        assert json.loads(data)["error"]["type"] == "rate_limit_error"
        raw.close()


def test_a_hundred_and_twenty_eight_streams_at_once_all_end_well(server: Served) -> None:
    with ThreadPoolExecutor(128) as threads:
        texts = list(threads.map(lambda _: stream_text(server), range(128)))

    assert all(text.endswith("data: [DONE]\n\n") for text in texts)
    assert all('"finish_reason":"' in text for text in texts)


def test_a_half_open_connection_does_not_disturb_others(server: Served) -> None:
    lazy = []
    for _ in range(50):
        raw = socket.create_connection(("127.0.0.1", server.port))
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: loc")
        lazy.append(raw)

    status, _ = server.post(CHAT, hello())

    assert status == 200
    for raw in lazy:
        raw.close()


def test_a_body_that_stops_is_no_request(server: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.putrequest("POST", CHAT)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b'{"messages"')
    connection.sock.shutdown(socket.SHUT_WR)
    connection.close()

    assert server.post(CHAT, hello())[0] == 200
