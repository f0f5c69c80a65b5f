"""Which precision is served where none was named: the one that measuring has shown to be best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codehearth.cli.output import say
from codehearth.errors import HearthError

if TYPE_CHECKING:
    from codehearth.models.local_models import LocalModel
    from codehearth.models.store import Store
    from codehearth.settings import Settings


def names_no_precision(text: str) -> bool:
    """`starter`, `hf:org/repo`; not `starter:q4_k_m`, and not a path, which is one file."""
    from codehearth.models.names import CatalogueName, HubName, parse_name

    match parse_name(text, allow_path=True):
        case CatalogueName(_, None, None) | HubName(_, _, None, None):
            return True
    return False


def advised_name(settings: Settings, store: Store, found: LocalModel) -> str:
    """The name of `found` in the precision that was measured best for chat here, with the reason
    said; its own where nothing was measured, or where that file is gone."""
    folder = settings.data / "lab"
    if not any(folder.glob("*.json")):  # before anything of the lab is loaded
        return found.name
    from codehearth.cli.machine import usable_hardware
    from codehearth.lab.advising import counsel
    from codehearth.lab.naming import base_of

    if found.format != "gguf":
        return found.name
    try:
        told = counsel(found, folder, usable_hardware(settings))
        best = told.of("chat")
        if told.result is None or best is None:
            return found.name
        is_itself = best.precision == told.result.reference
        name = found.name if is_itself else store.find(f"{base_of(found)}:{best.precision}").name
    except HearthError:
        return found.name
    say(f"Precision {best.precision}: {best.reason} (measured: {told.result.id}).")
    return name
