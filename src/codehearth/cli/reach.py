"""Which server a command speaks to.

1. The one that `HEARTH_URL` names, with the key in `HEARTH_API_KEY`.
2. The one that runs on this machine for this user, with the operator's token of its start.
3. The one that `OPENAI_BASE_URL` names, with the key in `OPENAI_API_KEY`.
4. For `run` and `complete`: one that is started for the duration of the command.

A server of this machine comes before OpenAI's variables, which many set for other programs: what
is private must not leave the machine by surprise. Where a server is elsewhere, it is said.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from codehearth.cli.output import say
from codehearth.errors import ServerUnreachable
from codehearth.settings import Settings

if TYPE_CHECKING:
    from codehearth.client import Client

# Name, and what it does: for the documentation, too.
VARIABLES: Mapping[str, str] = {
    "HEARTH_URL": "The server that commands speak to, instead of this machine's own.",
    "HEARTH_API_KEY": "The key for that server.",
    "OPENAI_BASE_URL": "A server that commands speak to where none runs on this machine.",
    "OPENAI_API_KEY": "The key for that server.",
    "NO_COLOR": "Anything in it: no colours.",
}


@dataclass(frozen=True)
class Server:
    """Where a server is. `kind` tells whether it is this user's own and shares the models here."""

    url: str
    key: str = field(repr=False)
    kind: Literal["named", "running", "started"]

    @property
    def is_own(self) -> bool:
        return self.kind != "named"


def find_server(settings: Settings, environment: Mapping[str, str] = os.environ) -> Server | None:
    """The server that is there already, None where there is none."""
    if url := environment.get("HEARTH_URL"):
        return Server(url, environment.get("HEARTH_API_KEY", "").strip(), "named")
    if running := server_of(settings.data):
        return running
    if url := environment.get("OPENAI_BASE_URL"):
        return Server(url, environment.get("OPENAI_API_KEY", "").strip(), "named")
    return None


def server_of(data: Path) -> Server | None:
    """The server of a data folder and no other one: it has the models that lie there."""
    from codehearth.gateway.running import find_running

    running = find_running(data)
    return Server(running.url, running.token, "running") if running else None


def require_server(settings: Settings) -> Server:
    """The server that is there; raises ServerUnreachable."""
    server = find_server(settings)
    if server is None:
        raise ServerUnreachable("No server is running.", hint="start one with `hearth serve`")
    return server


def client_of(server: Server) -> Client:
    """A client; says where requests go when they leave this machine."""
    from codehearth.client import Client, is_loopback

    client = Client(server.url, key=server.key)
    if not is_loopback(client.url):
        say(f"Asking the server at {client.url}.")
    return client


@contextmanager
def found_or_started(
    settings: Settings, server: Server | None, *, model: str | None
) -> Iterator[Server]:
    """`server`, or one that lives as long as the block; then `model` is its default."""
    if server is not None:
        yield server
        return
    from codehearth.cli.own_server import own_server

    with own_server(settings, model=model) as running:
        yield Server(running.url, running.token, "started")
