"""The client itself: one connection pool to one server; safe to share among threads."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote

import httpx2

from codehearth.client.answers import (
    Answer,
    LiveModel,
    ModelCard,
    Piece,
    card_of,
    gathered,
    live_model_of,
    piece_of,
)
from codehearth.client.failures import error_of, error_of_details
from codehearth.errors import InvalidRequest, ServerUnreachable, UpstreamFailed
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.sse import Event, EventReader

Message = Mapping[str, str]

CONNECT_S = 10.0
# A model may have to be loaded, and the queue before it to be served, until a first byte comes.
SILENCE_S = 900.0
_MAX_BODY_BYTES = 64 * 2**20


class Client:
    """Asks one server. `url` may end in `/v1`, as OpenAI's clients write it, or not.

    Every method raises an error of the house's tree: ServerUnreachable where nothing answers, what
    the server said where it refused, UpstreamFailed where it broke off or sent nonsense. Options
    of a request (`temperature`, `max_tokens`, ...) are sent as they are; None is left out.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        silence_s: float = SILENCE_S,
        socket_path: Path | None = None,
    ) -> None:
        """`socket_path`: the server listens there, and the host in `url` means nothing."""
        self.url = _plain_url(url)
        headers = {"user-agent": "hearth"} | ({"authorization": f"Bearer {key}"} if key else {})
        try:
            self._http = httpx2.Client(
                base_url=self.url,
                headers=headers,
                timeout=httpx2.Timeout(silence_s, connect=CONNECT_S),
                limits=httpx2.Limits(max_connections=None),
                transport=None
                if socket_path is None
                else httpx2.HTTPTransport(uds=str(socket_path)),
                # A proxy of the environment must not be asked for this machine's own server.
                trust_env=not is_loopback(self.url),
            )
        except (httpx2.InvalidURL, UnicodeError, ValueError) as error:
            raise InvalidRequest("The server's address or the key cannot be sent.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def models(self) -> tuple[ModelCard, ...]:
        listed = self._get("/v1/models").get("data")
        if not isinstance(listed, list):
            raise UpstreamFailed("The server's list of models is not in OpenAI's shape.")
        return tuple(card_of(entry) for entry in listed)

    def model(self, name: str) -> ModelCard:
        """One model by any of its names; raises ModelNotFound."""
        return card_of(self._get(f"/v1/models/{quote(name)}", model=name))

    def stream_chat(
        self, messages: Sequence[Message], *, model: str | None = None, **options: Any
    ) -> Iterator[Piece]:
        """The answer's pieces as they come; closing the iterator stops the generation."""
        body = {"messages": [dict(message) for message in messages], **options}
        return self._stream("/v1/chat/completions", body, model)

    def chat(
        self, messages: Sequence[Message], *, model: str | None = None, **options: Any
    ) -> Answer:
        return gathered(self.stream_chat(messages, model=model, **options))

    def stream_completion(
        self, prompt: str, *, suffix: str | None = None, model: str | None = None, **options: Any
    ) -> Iterator[Piece]:
        """The continuation of `prompt`; with `suffix`, what stands between the two."""
        body = {"prompt": prompt, "suffix": suffix, **options}
        return self._stream("/v1/completions", body, model)

    def complete(
        self, prompt: str, *, suffix: str | None = None, model: str | None = None, **options: Any
    ) -> Answer:
        return gathered(self.stream_completion(prompt, suffix=suffix, model=model, **options))

    # Routes that only our own servers have.

    def default_model(self) -> str:
        """The model that answers where none is named; empty where the server does not say."""
        return str(self._get("/hearth/version").get("default_model") or "")

    def live_models(self) -> tuple[LiveModel, ...]:
        """The models in memory, loading or waited for."""
        listed = self._get("/hearth/ps").get("models")
        return tuple(map(live_model_of, listed if isinstance(listed, list) else ()))

    def verified(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Code that passes tests, with the evidence: docs/api.md has the fields of both."""
        return self._post("/v1/verified", order, order.get("model"))

    def load(self, model: str, *, keep_alive: float | str | None = None) -> None:
        """Returns when the model serves."""
        self._post("/hearth/load", {"model": model, "keep_alive": keep_alive}, model)

    def unload(self, model: str) -> bool:
        """Whether the model was in memory; it is sent away when its requests are answered."""
        return bool(self._post("/hearth/unload", {"model": model}, model).get("was_loaded"))

    # The way to the server and back.

    def _get(self, path: str, *, model: str | None = None) -> dict[str, Any]:
        with self._asked("GET", path, None, model) as response:
            return _object(response)

    def _post(self, path: str, body: Mapping[str, Any], model: str | None) -> dict[str, Any]:
        with self._asked("POST", path, body, model) as response:
            return _object(response)

    def _stream(self, path: str, body: Mapping[str, Any], model: str | None) -> Iterator[Piece]:
        asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
        with self._asked("POST", path, asked | {"model": model}, model) as response:
            if shown := response.headers.get("x-hearth-snippets"):
                yield Piece(shown=tuple(unquote(place) for place in shown.split(", ")))
            is_finished = False
            for event in _events(response):
                if event.data == b"[DONE]":
                    return
                piece = piece_of(_chunk(event, model))
                is_finished = is_finished or piece.finish_reason is not None
                yield piece
        if not is_finished:
            raise UpstreamFailed("The server broke off in the middle of the answer.")

    @contextmanager
    def _asked(
        self, method: str, path: str, body: Mapping[str, Any] | None, model: str | None
    ) -> Iterator[httpx2.Response]:
        """A response of status 200, still to be read."""
        with _translated(self.url):
            content = None if body is None else _sendable(body)
            headers = None if body is None else {"content-type": "application/json"}
            with self._http.stream(method, path, content=content, headers=headers) as response:
                if response.status_code != 200:
                    said = _read(response)
                    wait = response.headers.get("retry-after")
                    raise error_of(response.status_code, said, model=model, retry_after=wait)
                yield response


def is_loopback(url: str) -> bool:
    """Whether `url` is this machine's own, so that nothing leaves it."""
    host = httpx2.URL(url).host
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _plain_url(url: str) -> str:
    plain = url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    try:
        parts = httpx2.URL(plain)
        is_usable = parts.scheme in ("http", "https") and bool(parts.host)
    except (httpx2.InvalidURL, UnicodeError):
        is_usable = False
    if not is_usable:
        raise InvalidRequest(
            f"'{url[:200]}' is not the address of a server.", hint="write http://host:port"
        )
    return plain


def _sendable(body: Mapping[str, Any]) -> bytes:
    try:
        return dump_json({name: value for name, value in body.items() if value is not None})
    except ValueError as error:
        raise InvalidRequest("The request holds text or numbers that JSON cannot hold.") from error


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """httpx2's errors as the house's."""
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
        raise ServerUnreachable(
            f"No server answers at {url}.", hint="start one with `hearth serve`"
        ) from error
    except httpx2.TimeoutException as error:
        raise UpstreamFailed(f"The server at {url} has stopped answering.") from error
    except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
        raise UpstreamFailed(f"The connection to {url} broke.") from error


def _events(response: httpx2.Response) -> Iterator[Event]:
    reader = EventReader()
    for received in response.iter_bytes():
        yield from reader.feed(received)


def _chunk(event: Event, model: str | None) -> dict[str, Any]:
    """An event's object; raises what an error event says."""
    chunk = _parsed(event.data)
    if "error" in chunk:
        error = chunk["error"]
        details = error if isinstance(error, dict) else {"message": str(error)}
        raise error_of_details(details, model=model)
    return chunk


def _object(response: httpx2.Response) -> dict[str, Any]:
    return _parsed(_read(response))


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UpstreamFailed("The server sent something that is not JSON.") from error
    if not isinstance(value, dict):
        raise UpstreamFailed("The server sent JSON that is not an object.")
    return value


def _read(response: httpx2.Response) -> bytes:
    body = bytearray()
    for received in response.iter_bytes():
        body += received
        if len(body) > _MAX_BODY_BYTES:
            raise UpstreamFailed("The server's answer does not end.")
    return bytes(body)
