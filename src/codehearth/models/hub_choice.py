"""Which hub is asked first: both are probed once, and the answer is remembered for a day."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from codehearth.models.hubs import HubPlaces, HubPreference, reachable_hubs
from codehearth.models.names import Hub

REMEMBERED_S = 24 * 3600


def hub_order(
    preference: HubPreference,
    places: HubPlaces,
    memory: Path,
    *,
    clock: Callable[[], float] = time.time,
) -> tuple[Hub, ...]:
    """The hubs to ask, first one first. A hub that was set is asked alone.

    With `auto`, Hugging Face comes first where it answers in time. `memory` is a file; whatever
    is wrong with it, the hubs are probed again.
    """
    if preference != "auto":
        return (preference,)
    first = _remembered(places, memory, clock())
    if first is None:
        reachable = reachable_hubs(places)
        if not reachable:
            # Perhaps only the probe was too slow: both are tried, and nothing is remembered.
            return ("huggingface", "modelscope")
        first = reachable[0]
        _remember(first, places, memory, clock())
    return (first, "modelscope" if first == "huggingface" else "huggingface")


def forget_hub(memory: Path) -> None:
    """After the remembered hub did not answer."""
    memory.unlink(missing_ok=True)


def _remembered(places: HubPlaces, memory: Path, now: float) -> Hub | None:
    try:
        table = json.loads(memory.read_bytes()[:4096])
        hub, endpoint, at = table["hub"], table["endpoint"], table["at"]
        if hub in ("huggingface", "modelscope") and 0 <= now - float(at) < REMEMBERED_S:
            chosen: Hub = hub
            return chosen if endpoint == places.endpoint(chosen) else None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _remember(hub: Hub, places: HubPlaces, memory: Path, now: float) -> None:
    table = {"hub": hub, "endpoint": places.endpoint(hub), "at": int(now)}
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(table), encoding="utf-8")
    except OSError:
        return  # it is only a convenience
