"""What a server of this data folder has in memory of a model that changes on disk or leaves it."""

from __future__ import annotations

from contextlib import suppress

from codehearth.cli.reach import client_of, server_of
from codehearth.errors import HearthError
from codehearth.settings import Settings


def let_go(settings: Settings, model: str, *, forms: tuple[str, ...] = ()) -> bool:
    """Whether a running server had it, or a form of it; requests under way are answered first.

    Without a server, or where it does not know the model, nothing happens.
    """
    server = server_of(settings.data)
    if server is None:
        return False
    had = False
    with client_of(server) as client:
        for name in (model, *(f"{model}:{form}" for form in forms)):
            with suppress(HearthError):
                had = client.unload(name) or had
    return had
