"""`hearth up`: from nothing to a server with the best model that this machine can run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from codehearth.cli.options import settings_options, yes_option
from codehearth.cli.output import is_interactive, print_data, say, size
from codehearth.errors import DiskFull, HubFailed, ModelNotFound
from codehearth.settings import Settings, read_settings

if TYPE_CHECKING:
    from codehearth.cli.first_model import FirstModel
    from codehearth.models.store import Store

STARTER = "starter"


@click.command()
@settings_options("model", "host", "port", "page", "hub")
@click.option("--offline", is_flag=True, help="Fetch nothing; take the best that is here.")
@yes_option
def up(offline: bool, yes: bool, **flags: Any) -> None:
    """Fetch the best model for this machine, and serve it.

    Looks at the machine, says what it chose and why, and asks before it fetches anything.
    Prints the address, and a key where one is needed. Without a hub, or when nothing may be
    fetched, it serves what is here: at least the small model that comes with CodeHearth.
    """
    settings = read_settings(flags=flags)
    if _runs_already(settings):
        return
    from codehearth.cli.machine import GPU_NOTE, in_words, usable_hardware
    from codehearth.models.hardware import snapshot

    hardware = usable_hardware(settings)
    say(f"This machine: {in_words(snapshot())}.")
    if snapshot().gpus and not hardware.gpus:
        say(f"Of the GPU no use is made: {GPU_NOTE}.")
    if settings.model == STARTER:
        settings = replace(settings, model=_model(settings, offline=offline, yes=yes))
    _make_first_key(settings)
    from codehearth.cli.serve import serve_here

    serve_here(settings)


def _runs_already(settings: Settings) -> bool:
    from codehearth.gateway.running import find_running

    running = find_running(settings.data)
    if running is None:
        return False
    print_data(running.url)
    say("The server runs already. `hearth ps` shows its models, `hearth stop --server` ends it.")
    return True


def _model(settings: Settings, *, offline: bool, yes: bool) -> str:
    """The model to serve, fetched if it may be and can be; the reasons are told."""
    from codehearth.cli.advised import advised_name
    from codehearth.cli.first_model import best_first_model
    from codehearth.cli.machine import usable_hardware
    from codehearth.cli.shelf import store_of
    from codehearth.models.catalogue import catalogue

    store = store_of(settings)
    best = best_first_model(catalogue().values(), usable_hardware(settings))
    if best is None:
        say("No model of the catalogue fits this machine at a readable speed.")
        return _best_here(settings, store)
    say(f"The best model for it is {best.name}:")
    for reason in best.why:
        say(f"- {reason}")
    try:
        return advised_name(settings, store, store.find(best.name))
    except ModelNotFound:
        fetched = None if offline else _fetched(store, best, yes=yes)
        return fetched or _best_here(settings, store)


def _fetched(store: Store, best: FirstModel, *, yes: bool) -> str | None:
    """The model's name once it is here; None, and why, where it does not get here."""
    from codehearth.cli.pull import fetch
    from codehearth.cli.questions import agreed
    from codehearth.models.hubs import reachable_hubs

    if store.places.is_offline:
        say("It is not fetched: HF_HUB_OFFLINE is set.")
        return None
    if not reachable_hubs(store.places):
        say("It cannot be fetched: neither Hugging Face nor ModelScope can be reached.")
        return None
    if not (yes or is_interactive()):
        say("It is not fetched without being asked for: add --yes.")
        return None
    if not agreed(f"Fetch it now (about {size(best.num_bytes)})?", yes=yes):
        return None
    try:
        return fetch(store, best.name).name
    except (HubFailed, DiskFull, ModelNotFound) as error:
        say(f"It was not fetched: {error.message}")
        return None


def _best_here(settings: Settings, store: Store) -> str:
    """The model with most parameters that is here and made for code, at least the starter; in the
    precision that was measured best, else in its own."""
    from codehearth.cli.advised import advised_name

    rows = [
        (model.row.num_parameters, model.num_bytes, model.name)
        for model in store.models()
        if model.row is not None and model.row.kind == "chat" and model.format == "gguf"
        if model.source != "made"
    ]
    name = advised_name(settings, store, store.find(max(rows, default=(0, 0, STARTER))[2]))
    if name == STARTER:
        say(f"Serving '{STARTER}', a very small model for first steps.")
    else:
        say(f"Serving '{name}', which is here.")
    return name


def _make_first_key(settings: Settings) -> None:
    """Where others can reach the server, a key is needed; the first one is made and printed."""
    from contextlib import closing

    from codehearth.records.keys import Keys

    with closing(Keys(settings.data)) as keys:
        if keys.are_required():
            say("Every request needs a key; `hearth keys list` shows which there are.")
        elif settings.is_loopback:
            say("No key is needed: only this machine can reach the server.")
        else:
            say("This is the first key, 'first' (admin). Keep it; it cannot be shown again.")
            print_data(keys.create("first", role="admin"))
