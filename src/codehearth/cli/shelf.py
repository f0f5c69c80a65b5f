"""The models on this machine, for verbs that need no server."""

from __future__ import annotations

from codehearth.models.store import Store
from codehearth.settings import Settings


def store_of(settings: Settings) -> Store:
    """The store as the server of these settings would see it."""
    from codehearth.gateway.stores import make_store

    return make_store(settings)
