"""The models on this machine, for verbs that need no server."""

from __future__ import annotations

from codehearth.errors import Unsupported
from codehearth.models.facts import Weights
from codehearth.models.store import LocalModel, Store
from codehearth.settings import Settings


def store_of(settings: Settings) -> Store:
    """The store as the server of these settings would see it."""
    from codehearth.gateway.stores import make_store

    return make_store(settings)


def weights_here(model: LocalModel) -> Weights:
    """The facts of a model's weights; raises BadWeights, and Unsupported for a remote model."""
    if model.format == "remote":
        raise Unsupported(
            f"'{model.name}' is served by another server; nothing of it is here to be looked at.",
            hint="`hearth engines` shows which server that is",
        )
    from codehearth.models.weights import read_weights

    return read_weights(model.path)
