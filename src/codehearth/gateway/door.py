"""The door: every HTTP request passes here first, whatever route it is for.

1. A request gets an id, which the answer and the log carry.
2. A server that is leaving lets nobody in.
3. Host and Origin are checked: a page in a browser must not reach a server on loopback through a
   name of its own (DNS rebinding) or by a cross-site request.
4. What the headers alone show to be too large or encoded is refused before a byte is read.
5. Without a key nobody passes, if keys are required. All routes are closed unless named here;
   a browser that shows an address gets the login form instead. A cookie names a key, too, but
   what it changes must come from this server's own pages.
6. One key may not have more requests under way than its share, so it cannot fill the queue.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codehearth.errors import (
    Forbidden,
    HearthError,
    InvalidRequest,
    Overloaded,
    RateLimited,
    Unauthorized,
    WrongContentType,
)
from codehearth.gateway.auth import Caller, Doorkeeper
from codehearth.gateway.body import MAX_BODY_BYTES, too_large
from codehearth.gateway.metrics import Metrics
from codehearth.gateway.page.login_form import login_form
from codehearth.gateway.replies import error_reply, unexpected
from codehearth.wire.conversations import MAX_IMPORTED_BYTES

log = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/health", "/ready"})
"""What a container's probe may ask without a key; it tells nothing but that the server lives."""

STRANGERS_PATHS = frozenset({"/hearth/session", "/hearth/login", "/hearth/logout"})
"""How a browser becomes somebody. Host, origin and size are checked as for all others."""

_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
_LARGE_BODIES = {"/hearth/conversations/import": MAX_IMPORTED_BYTES}
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass
class Leaving:
    """Whether the server is on its way out; written by the server, read by the door."""

    is_draining: bool = False


@dataclass(frozen=True)
class Guests:
    """By which names the server may be called, and from which web origins.

    `may_any_host` holds where the server listens beyond loopback: it then has names that it
    cannot know, and needs none to be safe, since a key is required there.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    may_any_host: bool

    def check(self, headers: Headers) -> None:
        """Raises Forbidden for a Host or Origin that is not ours."""
        host = _host_name(headers.get("host", ""))
        if not self.may_any_host and host not in _LOOPBACK_NAMES | self.hosts:
            raise Forbidden(
                f"This server does not answer to the host '{host[:80]}'.",
                hint="set HEARTH_ALLOWED_HOSTS to the name that it shall answer to",
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_ours(origin, headers.get("host", "")):
            raise Forbidden(
                f"This server does not answer to pages from '{origin[:80]}'.",
                hint="set HEARTH_ALLOWED_ORIGINS to the origin that may call it",
            )

    def _is_ours(self, origin: str, host: str) -> bool:
        return origin in self.origins or _is_same(origin, host)


def check_own_page(headers: Headers) -> None:
    """Raises Forbidden for a change by cookie that another page than ours asked a browser for.

    SameSite=Strict does not help against another port of the same host. A browser names the
    origin of every change; who names none is no browser, unless it sends Sec-Fetch-Site.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    if origin is None:
        is_own = site in ("same-origin", "none")
    else:
        is_own = _is_same(origin, headers.get("host", ""))
    if not is_own:
        raise Forbidden("This change was asked for by a page of another origin.")


def _is_same(origin: str, host: str) -> bool:
    scheme, _, authority = origin.partition("://")
    return scheme in ("http", "https") and authority.lower() == host.lower()


class Door:
    """The ASGI application that stands before the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        doorkeeper: Doorkeeper,
        guests: Guests,
        leaving: Leaving,
        metrics: Metrics,
        max_requests_per_key: int,
        has_page: bool,
    ) -> None:
        self._has_page = has_page
        self._app = app
        self._doorkeeper = doorkeeper
        self._guests = guests
        self._leaving = leaving
        self._metrics = metrics
        self._max_requests_per_key = max_requests_per_key
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        visit = _Visit(send, path=scope["path"], request_id=_request_id(headers))
        scope.setdefault("state", {})["request_id"] = visit.request_id
        self._metrics.in_flight.inc()
        try:
            try:
                caller = self._let_in(scope, headers)
            except HearthError as error:
                await self._refusal(error, scope, headers)(scope, receive, visit.send)
                return
            scope["state"]["caller"] = caller
            with self._counted(caller.owner):
                await self._app(scope, receive, visit.send)
        except Exception:
            log.exception("request %s: a mistake of ours", visit.request_id)
            if not visit.status:
                await error_reply(unexpected(), path=scope["path"])(scope, receive, visit.send)
        finally:
            self._metrics.in_flight.dec()
            self._metrics.requests.labels(_route(scope), str(visit.status or 499)).inc()
            log.info(
                "%s %s %s %d in %.3f s",
                visit.request_id,
                scope["method"],
                _printable(scope["path"]),
                visit.status or 499,
                time.monotonic() - visit.began_at,
            )

    def _let_in(self, scope: Scope, headers: Headers) -> Caller:
        if scope["path"] in OPEN_PATHS:
            return Caller()
        if self._leaving.is_draining:
            raise Overloaded("The server is shutting down.", retry_after_s=5)
        self._guests.check(headers)
        _check_headers(headers, max_bytes=_LARGE_BODIES.get(scope["path"], MAX_BODY_BYTES))
        caller = self._known(scope["path"], headers)
        if caller.by == "session" and scope["method"] not in _HARMLESS:
            check_own_page(headers)
        if caller.owner and self._under_way[caller.owner] >= self._max_requests_per_key:
            raise RateLimited(
                f"The key '{caller.name}' has {self._max_requests_per_key} requests under way.",
                hint="wait for some of them",
            )
        return caller

    def _known(self, path: str, headers: Headers) -> Caller:
        try:
            return self._doorkeeper.admit(headers)
        except Unauthorized:
            if path in STRANGERS_PATHS:
                return Caller(name="nobody", by="nobody")
            raise

    def _refusal(self, error: HearthError, scope: Scope, headers: Headers) -> Response:
        is_shown = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        if self._has_page and is_shown and error.status == 401:
            return login_form()
        return error_reply(error, path=scope["path"])

    @contextmanager
    def _counted(self, owner: str) -> Iterator[None]:
        self._under_way[owner] += 1
        try:
            yield
        finally:
            self._under_way[owner] -= 1
            if not self._under_way[owner]:
                del self._under_way[owner]


class _Visit:
    """Sends on, adds the request's id, and remembers the status. What is said of a user's own
    things is kept by no cache."""

    def __init__(self, send: Send, *, path: str, request_id: str) -> None:
        self._send = send
        self._is_private = path.startswith(("/hearth/", "/v1/"))
        self.request_id = request_id
        self.status = 0
        self.began_at = time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            headers["x-content-type-options"] = "nosniff"
            if self._is_private:
                headers.setdefault("cache-control", "no-store")
        await self._send(message)


def _check_headers(headers: Headers, *, max_bytes: int) -> None:
    length = headers.get("content-length", "0")
    if not length.isdigit():
        raise InvalidRequest("The header Content-Length is not a number.")
    if int(length[:20]) > max_bytes:
        raise too_large(max_bytes)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise WrongContentType("Compressed bodies are not taken.", hint="send it uncompressed")


def _host_name(host: str) -> str:
    """`[::1]:8765` as `::1`; what cannot be one is given back as it is and matches nothing."""
    if host.startswith("["):
        name, closing, port = host[1:].partition("]")
        return name.lower() if closing and _is_port(port) else host
    name, _, port = host.partition(":")
    if not _is_port(f":{port}" if port else ""):
        return host
    return _loopback_or(name.lower().rstrip("."))


def _loopback_or(name: str) -> str:
    """All of 127.0.0.0/8 is this machine, written in the one canonical way."""
    try:
        return "127.0.0.1" if ipaddress.IPv4Address(name).is_loopback else name
    except ValueError:
        return name


def _is_port(text: str) -> bool:
    return text == "" or (text.startswith(":") and text[1:].isdigit())


def _request_id(headers: Headers) -> str:
    """The client's own id where it is harmless, so that its log and ours speak of the same."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(8)}"


def _route(scope: Mapping[str, object]) -> str:
    """The route's pattern, so that strangers cannot make as many labels as they like."""
    return str(getattr(scope.get("route"), "path", "other"))


def _printable(path: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in path[:200])
