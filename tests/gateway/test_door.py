"""Who may come in, and what is refused before it reaches a route."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from codehearth.gateway.door import STRANGERS_PATHS
from tests.gateway.served import Served, served

HELLO = {"messages": [{"role": "user", "content": "hello"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str, str]]:
    """A server with keys: the server, a user's key and an administrator's."""
    with served(tmp_path_factory.mktemp("house")) as running:
        user = running.keys.create("user")
        admin = running.keys.create("admin", role="admin")
        yield running, user, admin


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_loopback_needs_no_key_until_one_is_made(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        assert server.post(CHAT, HELLO)[0] == 200

        server.keys.create("ada")

        assert server.post(CHAT, HELLO)[0] == 401


def test_every_route_of_the_document_is_closed_without_a_key(
    locked: tuple[Served, str, str],
) -> None:
    server, user, _ = locked
    _, _, data = server.request("GET", "/openapi.json", headers=bearer(user))
    paths = json.loads(data)["paths"]

    assert paths.keys() > STRANGERS_PATHS
    for path, methods in paths.items():
        for method in methods if path not in STRANGERS_PATHS else ():
            status, headers, body = server.request(method.upper(), re.sub(r"{.*?}", "fake", path))
            assert status == 401, f"{method} {path} is open"
            assert headers["www-authenticate"] == "Bearer"
            assert "API key" in json.dumps(json.loads(body))  # in the dialect's own shape
    assert len(paths) >= 10


@pytest.mark.parametrize(
    "path", ["/openapi.json", "/", "/metrics", "/nowhere", "/v1", "//v1/models"]
)
def test_what_is_no_api_is_closed_too(locked: tuple[Served, str, str], path: str) -> None:
    assert locked[0].request("GET", path)[0] == 401


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_a_probe_needs_no_key(locked: tuple[Served, str, str], path: str) -> None:
    assert locked[0].request("GET", path)[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer sk-wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer \xff\xfe"},
        {"X-Api-Key": "sk-wrong"},
    ],
)
def test_a_wrong_key_is_refused(locked: tuple[Served, str, str], headers: dict[str, str]) -> None:
    status, _, body = locked[0].request("GET", "/v1/models", headers=headers)

    assert status == 401
    assert b"sk-wrong" not in body


def test_both_headers_carry_a_key(locked: tuple[Served, str, str]) -> None:
    server, user, _ = locked

    assert server.request("GET", "/v1/models", headers=bearer(user))[0] == 200
    assert server.request("GET", "/v1/models", headers={"X-Api-Key": user})[0] == 200


def test_only_an_administrator_moves_models(locked: tuple[Served, str, str]) -> None:
    server, user, admin = locked
    load = {"model": "fake"}

    assert server.request("POST", "/hearth/load", load, bearer(user))[0] == 403
    assert server.request("POST", "/hearth/load", load, bearer(admin))[0] == 200
    assert server.request("POST", "/hearth/unload", load, bearer(user))[0] == 403
    assert server.request("POST", "/hearth/unload", load, bearer(admin))[0] == 200


def test_a_revoked_key_is_out_at_once(locked: tuple[Served, str, str]) -> None:
    server, _, _ = locked
    key = server.keys.create("guest")
    assert server.request("GET", "/v1/models", headers=bearer(key))[0] == 200

    server.keys.revoke("guest")

    assert server.request("GET", "/v1/models", headers=bearer(key))[0] == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:1234", 200),
        ("[::1]:8765", 200),
        ("127.0.0.2", 200),
        ("LOCALHOST", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1@evil.example", 403),
        ("169.254.169.254", 403),
        ("", 403),
    ],
)
def test_a_name_that_is_not_ours_is_refused(server: Served, host: str, status: int) -> None:
    got, _, body = server.request("GET", "/v1/models", headers={"Host": host})

    assert got == status, body


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://", "http://localhost"]
)
def test_a_page_from_elsewhere_is_refused(server: Served, origin: str) -> None:
    status, headers, _ = server.request("POST", CHAT, HELLO, {"Origin": origin})

    assert status == 403
    assert "access-control-allow-origin" not in headers


def test_our_own_page_may_call(server: Served) -> None:
    assert server.request("POST", CHAT, HELLO, {"Origin": server.url})[0] == 200


def test_hosts_and_origins_can_be_allowed(tmp_path: Path) -> None:
    with served(
        tmp_path, allowed_hosts=("hearth.lan",), allowed_origins=("https://ide.lan",)
    ) as server:
        headers = {"Host": "hearth.lan", "Origin": "https://ide.lan"}

        status, answered, _ = server.request("POST", CHAT, HELLO, headers)
        ask = headers | {"Access-Control-Request-Method": "POST"}
        preflight, _, _ = server.request("OPTIONS", CHAT, headers=ask)

        assert (status, preflight) == (200, 200)
        assert answered["access-control-allow-origin"] == "https://ide.lan"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "multipart/form-data"}, 415),
        (b"{}", {}, 415),
        (b"{}", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        (b"not json", {"Content-Type": "application/json"}, 400),
        (b"", {"Content-Type": "application/json"}, 400),
        (b"[]", {"Content-Type": "application/json"}, 400),
        (b"[" * 5000, {"Content-Type": "application/json"}, 400),
        (
            b'{"messages":[{"role":"user","content":"\\ud800"}]}',
            {"Content-Type": "application/json"},
            400,
        ),
        (b'{"temperature": NaN}', {"Content-Type": "application/json"}, 400),
        (b'{"temperature": 1e400}', {"Content-Type": "application/json"}, 400),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bodies_that_are_no_request_are_refused_in_openais_shape(
    server: Served, body: bytes, headers: dict[str, str], status: int
) -> None:
    got, answered, data = server.request("POST", CHAT, body, headers)

    error = json.loads(data)["error"]
    assert got == status
    assert set(error) >= {"message", "type", "param", "code"}
    assert answered["x-request-id"]


def test_ten_megabytes_are_refused_from_the_header_alone(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {10 * 2**20}\r\n\r\n".encode()
        )

        answer = raw.recv(4096)

    assert answered_status(answer) == 413


def test_ten_megabytes_in_pieces_are_refused_too(server: Served) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(10):
            yield b"x" * 2**20

    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    try:
        connection.request(
            "POST", CHAT, pieces(), {"Content-Type": "application/json"}, encode_chunked=True
        )
        with connection.getresponse() as response:
            status = response.status
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # the server closed while we still sent, as it may
    finally:
        connection.close()

    assert status == 413


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"HELLO\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", 400),
    ],
    ids=["long header", "long path", "not HTTP", "two lengths", "negative length"],
)
def test_what_is_no_proper_http_is_refused_once(
    server: Served, request_bytes: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(request_bytes)
        answer = b""
        while piece := raw.recv(65536):
            answer += piece

    assert answered_status(answer) == status
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b'"error"' in answer


def test_an_unknown_path_and_a_wrong_method_answer_in_openais_shape(server: Served) -> None:
    nowhere = server.request("GET", "/v2/chat")
    wrong = server.request("GET", CHAT)

    assert (nowhere[0], wrong[0]) == (404, 405)
    assert json.loads(nowhere[2])["error"]["code"] == "not_found"
    assert json.loads(wrong[2])["error"]["code"] == "method_not_allowed"


def test_a_server_that_leaves_says_when_to_come_back(fresh: Served) -> None:
    fresh.leaving.is_draining = True

    status, headers, _ = fresh.request("POST", CHAT, HELLO)

    assert status == 503
    assert int(headers["retry-after"]) >= 1
    assert fresh.request("GET", "/ready")[0] == 503
    assert fresh.request("GET", "/health")[0] == 200


def test_the_clients_request_id_comes_back_if_it_is_harmless(server: Served) -> None:
    mine = server.request("GET", "/v1/models", headers={"X-Request-Id": "my-id-1"})[1]
    hostile = server.request("GET", "/v1/models", headers={"X-Request-Id": "a b<script>"})[1]

    assert mine["x-request-id"] == "my-id-1"
    assert hostile["x-request-id"].startswith("req_")


def answered_status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
