"""The client against a server that says whatever a test wants, byte by byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from codehearth.client import Answer, Client, Usage, is_loopback
from codehearth.errors import (
    BodyTooLarge,
    ContextLengthExceeded,
    DoesNotFit,
    EngineFailed,
    Forbidden,
    HearthError,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    OutOfMemory,
    Overloaded,
    RateLimited,
    ServerUnreachable,
    Unauthorized,
    Unsupported,
    UpstreamFailed,
)
from codehearth.gateway.replies import error_body


@dataclass
class Canned:
    """A loopback server with one answer to everything; keeps what it was asked."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    is_cut: bool = False
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Canned:
        canned = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                self._answer(json.loads(self.rfile.read(length)))

            def _answer(self, body: Any) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                canned.asked.append((self.command, self.path, headers, body))
                self.send_response(canned.status)
                more = 100 if canned.is_cut else 0
                self.send_header("content-length", str(len(canned.body) + more))
                for name, value in canned.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(canned.body)

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def canned() -> Iterator[Canned]:
    with Canned() as server:
        yield server


def events(*chunks: Any, done: bool = True) -> bytes:
    frames = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([*frames, "data: [DONE]\n\n" if done else ""]).encode()


def delta(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return {"model": "m", "choices": [choice]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}


def test_a_chat_is_streamed_and_gathered_alike(canned: Canned) -> None:
    canned.body = events(delta("Hello"), delta(", 世界"), delta("", "stop"), USAGE)
    messages = [{"role": "user", "content": "hi"}]

    with Client(canned.url) as client:
        texts = [piece.text for piece in client.stream_chat(messages, temperature=0.5)]
        answer = client.chat(messages)

    assert "".join(texts) == answer.text == "Hello, 世界"
    assert answer == Answer("Hello, 世界", "", "stop", Usage(7, 2), "m")
    assert canned.asked[0][3] == {
        "messages": messages,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_what_is_not_given_is_not_sent(canned: Canned) -> None:
    canned.body = events(delta("x", "stop"))

    with Client(canned.url) as client:
        client.complete("def f", suffix=None, seed=None, max_tokens=3)

    _, path, _, body = canned.asked[0]
    assert path == "/v1/completions"
    assert body.keys() == {"prompt", "max_tokens", "stream", "stream_options"}


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
def test_the_address_may_be_written_with_v1_or_without(canned: Canned, tail: str) -> None:
    canned.body = b'{"data": [{"id": "m", "context_window": 4096}]}'

    with Client(canned.url + tail, key="sk-secret") as client:
        (card,) = client.models()

    assert (card.name, card.context_tokens) == ("m", 4096)
    assert canned.asked[0][1] == "/v1/models"
    assert canned.asked[0][2]["authorization"] == "Bearer sk-secret"


def test_names_with_slashes_and_colons_reach_the_server_whole(canned: Canned) -> None:
    canned.body = b'{"id": "hf:org/repo:q4_k_m"}'

    with Client(canned.url) as client:
        assert client.model("hf:org/repo:q4_k_m").name == "hf:org/repo:q4_k_m"

    assert canned.asked[0][1].replace("%3A", ":") == "/v1/models/hf:org/repo:q4_k_m"


@pytest.mark.parametrize(
    "error",
    [
        Unauthorized("The API key is not known here."),
        Forbidden("The key 'x' may not do this."),
        Unsupported("This model cannot fill in the middle."),
        BodyTooLarge("The body is too large."),
        RateLimited("One key asks for too much."),
        Overloaded("The queue is full."),
        EngineFailed("The engine died."),
        OutOfMemory("The engine ran out of memory."),
        ModelNotFound("m", nearest=("n",)),
        ContextLengthExceeded(num_prompt_tokens=5000, num_context_tokens=4096),
        DoesNotFit("It needs 5.0 GiB.", needed_bytes=5, free_bytes=4, hint="take q4_k_m"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_our_server_raises_is_raised_here_again(canned: Canned, error: HearthError) -> None:
    canned.status, canned.body = error.status, json.dumps(error_body(error)).encode()
    if isinstance(error, Overloaded):
        canned.headers = {"retry-after": "7"}

    with Client(canned.url) as client, pytest.raises(HearthError) as caught:
        client.chat([{"role": "user", "content": "hi"}], model="m")

    raised = caught.value
    assert type(raised) is type(error)
    assert raised.message == error.message
    assert raised.exit_code == error.exit_code
    if isinstance(error, Overloaded):
        assert raised.retry_after_s == 7
    if isinstance(error, ContextLengthExceeded | DoesNotFit):
        names = [name for name in vars(error) if name.startswith(("num_", "needed", "free"))]
        assert {name: vars(raised)[name] for name in names} == {
            name: vars(error)[name] for name in names
        }
    if isinstance(error, ModelNotFound | DoesNotFit):
        assert raised.hint == error.hint.rstrip(".") if error.hint else raised.hint is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, UpstreamFailed),
        (503, Overloaded),
    ],
)
def test_of_another_server_the_status_decides(
    canned: Canned, status: int, kind: type[HearthError]
) -> None:
    canned.status, canned.body = status, b'{"error": {"message": "no", "type": "x", "code": 1}}'

    with Client(canned.url) as client, pytest.raises(HearthError) as caught:
        client.models()

    assert type(caught.value) is kind


def test_openai_tells_the_context_in_words(canned: Canned) -> None:
    message = "This model's maximum context length is 4097 tokens. However, you asked for 5000."
    canned.status = 400
    canned.body = json.dumps(
        {"error": {"message": message, "code": "context_length_exceeded"}}
    ).encode()

    with Client(canned.url) as client, pytest.raises(ContextLengthExceeded) as caught:
        client.chat([])

    assert (caught.value.num_context_tokens, caught.value.num_prompt_tokens) == (4097, 5000)


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", b"[]", b'{"error": 3}'])
def test_a_proxys_page_is_no_api_error(canned: Canned, body: bytes) -> None:
    canned.status, canned.body = 502, body

    with Client(canned.url) as client, pytest.raises(UpstreamFailed, match="502"):
        client.models()


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[1]", b'{"data": 3}', b'{"data": [3]}', b'{"data": [{}]}', b"[" * 100_000],
)
def test_nonsense_with_status_200_is_the_servers_failure(canned: Canned, body: bytes) -> None:
    canned.body = body

    with Client(canned.url) as client, pytest.raises(UpstreamFailed):
        client.models()


@pytest.mark.parametrize(
    "body",
    [
        events(delta("half"), done=False),
        events(done=False),
        b"data: {not json}\n\n",
        b'data: {"choices": [3]}\n\n',
    ],
)
def test_an_answer_that_breaks_off_is_never_taken_for_whole(canned: Canned, body: bytes) -> None:
    canned.body = body

    with Client(canned.url) as client, pytest.raises(UpstreamFailed):
        client.chat([])


def test_a_connection_that_breaks_is_told(canned: Canned) -> None:
    canned.body, canned.is_cut = events(delta("half"), done=False), True

    with Client(canned.url) as client, pytest.raises(UpstreamFailed, match="broke"):
        client.chat([])


def test_an_error_in_the_middle_of_a_stream_is_raised(canned: Canned) -> None:
    error = error_body(OutOfMemory("The engine ran out of memory."))
    canned.body = events(delta("half"), error, done=False)

    with Client(canned.url) as client:
        pieces = client.stream_chat([])
        assert next(pieces).text == "half"
        with pytest.raises(OutOfMemory):
            next(pieces)


def test_where_nobody_listens_the_hint_starts_a_server() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]

    with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(ServerUnreachable) as caught:
        client.models()

    assert caught.value.exit_code == 5
    assert "hearth serve" in (caught.value.hint or "")


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host", "http://", "http://[::1", "\ud800"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        Client(url)


def test_a_key_that_no_header_can_hold_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        Client("http://127.0.0.1:1", key="schlüssel\n")


def test_text_that_json_cannot_hold_is_refused_here() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(InvalidRequest):
        client.complete("\ud800")


def test_a_proxy_is_not_asked_for_this_machines_own_server(
    canned: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With HTTP_PROXY set and no NO_PROXY, every client of a local server once went astray."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    canned.body = b'{"data": []}'

    with Client(canned.url) as client:
        assert client.models() == ()


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ("http://127.0.0.1:8765", True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("http://127.1.2.3", True),
        ("http://192.168.1.1:8765", False),
        ("https://api.example.com", False),
        ("http://localhost.example.com", False),
    ],
)
def test_what_leaves_the_machine_is_known(url: str, is_own: bool) -> None:
    assert is_loopback(url) is is_own


def test_live_models_are_read_with_what_is_there(canned: Canned) -> None:
    canned.body = (
        b'{"models": [{"name": "m", "state": "ready", "context_tokens": 4096, '
        b'"suggestions": {"shown": 7, "accepted": 3}}]}'
    )

    with Client(canned.url) as client:
        (model,) = client.live_models()

    assert (model.name, model.state, model.context_tokens) == ("m", "ready", 4096)
    assert (model.num_shown, model.num_accepted) == (7, 3)
    assert model.memory_bytes is None
