"""A user's talk with a served house: conversations made, answers read event by event."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from codehearth.wire.sse import EventReader
from tests.gateway.served import Served

CONVERSATIONS = "/hearth/conversations"


@dataclass
class Talk:
    """One conversation of one user."""

    server: Served
    id: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"{CONVERSATIONS}/{self.id}"

    def ask(self, method: str, path: str = "", body: Any = None) -> tuple[int, Any]:
        status, _, data = self.server.request(method, self.path + path, body, self.headers)
        return status, json.loads(data)

    def whole(self) -> dict[str, Any]:
        status, found = self.ask("GET")
        assert status == 200, found
        return dict(found)

    def messages(self) -> list[dict[str, Any]]:
        return list(self.whole()["messages"])

    def answer(self, **body: Any) -> dict[str, Any]:
        """The message that came of it, read to its end; deltas must add up to it."""
        with self.watching("POST", "/answers", body) as events:
            text = ""
            for name, data in events:
                if name == "start":
                    text = data["answer"]["content"]
                elif name == "delta":
                    text += data.get("content", "")
                elif name == "end":
                    assert data["answer"]["content"] == text
                    return dict(data["answer"])
        raise AssertionError("the stream had no end")

    @contextlib.contextmanager
    def watching(
        self, method: str, path: str, body: Any = None
    ) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
        """The events of a stream; leaving the block closes the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        sent = {"Content-Type": "application/json", **self.headers}
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, self.path + path, data, sent)
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield _events(response)
            response.close()
        finally:
            connection.close()


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = EventReader()
    while piece := response.read1(65536):
        for event in reader.feed(piece):
            yield event.name, json.loads(event.data)


def begin(server: Served, headers: Mapping[str, str] | None = None, **fields: Any) -> Talk:
    """A new conversation."""
    status, _, data = server.request("POST", CONVERSATIONS, fields, headers)
    assert status == 201, data
    return Talk(server, json.loads(data)["id"], headers or {})


def until(events: Iterator[tuple[str, dict[str, Any]]], name: str) -> dict[str, Any]:
    """The data of the next event of that name."""
    return next(data for event, data in events if event == name)
