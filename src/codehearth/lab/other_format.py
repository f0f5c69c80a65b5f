"""The same model in the other format: a GGUF's checkpoint, or a checkpoint's GGUF."""

from __future__ import annotations

from collections.abc import Callable

from codehearth.lab.naming import base_of
from codehearth.models.facts import Weights
from codehearth.models.local_models import LocalModel
from codehearth.models.starter import STARTER
from codehearth.models.starter_checkpoint import STARTER_CHECKPOINT
from codehearth.models.store import Store
from codehearth.models.weights import read_weights


def in_other_format(
    store: Store, model: LocalModel, *, is_read: Callable[[Weights], bool]
) -> LocalModel | None:
    """The same model in files that are read, of several the most exact one; None without any.

    Raises as `Store.find` does.
    """
    base = base_of(model)
    others = [other for other in store.models() if base_of(other) == base]
    if base == STARTER:
        others.append(store.find(STARTER_CHECKPOINT))
    readable = [
        (weights.bits_per_weight, number)
        for number, other in enumerate(others)
        if other.format not in (model.format, "remote")
        and is_read(weights := read_weights(other.path))
    ]
    return store.find(others[max(readable)[1]].name) if readable else None
