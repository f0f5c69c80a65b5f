"""`hearth ps` and `hearth stop`: the models in memory, and how they leave it."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from typing import TYPE_CHECKING

import click

from codehearth.cli.options import json_option, model_argument, settings_now
from codehearth.cli.output import duration, print_json, print_table, say, size
from codehearth.cli.reach import client_of, require_server
from codehearth.errors import HearthError, ServerUnreachable

if TYPE_CHECKING:
    from codehearth.client import LiveModel
    from codehearth.settings import Settings

_LOOK_AGAIN_S = 0.1
_PATIENCE_S = 15.0


@click.command()
@json_option
def ps(as_json: bool) -> None:
    """Show the models that are in memory, loading or waited for."""
    with client_of(require_server(settings_now())) as client:
        models = client.live_models()
    if as_json:
        print_json([dataclasses.asdict(model) for model in models])
    elif models:
        print_table(_HEADINGS, [_row(model) for model in models])
    else:
        say("No model is in memory. A request, or `hearth run`, loads one.")


_HEADINGS = (
    "NAME",
    "STATE",
    "MEMORY",
    "REQUESTS",
    "WAITING",
    "SLOTS",
    "CONTEXT",
    "IDLE",
    "LEAVES",
    "TAKEN",  # suggestions of editors: accepted of shown
)


def _row(model: LiveModel) -> tuple[str, ...]:
    on_gpu = f" + ~{size(model.gpu_bytes)} GPU" if model.gpu_bytes else ""
    leaves = "" if model.expires_in_s is None else f"in {duration(model.expires_in_s)}"
    if model.memory_bytes:
        memory = size(model.memory_bytes)
    else:
        memory = f"~{size(model.predicted_bytes)}" if model.predicted_bytes else ""
    return (
        model.name,
        model.state,
        memory + on_gpu if memory else "",
        str(model.in_flight),
        str(model.waiting),
        str(model.num_slots or ""),
        str(model.context_tokens or ""),
        duration(model.idle_s) if model.idle_s is not None and not model.in_flight else "",
        leaves,
        f"{model.num_accepted} of {model.num_shown}" if model.num_shown else "",
    )


@click.command()
@model_argument(required=False)
@click.option("--server", "whole_server", is_flag=True, help="Stop the whole server.")
def stop(model: str | None, whole_server: bool) -> None:
    """Send a model out of memory, or stop the server.

    What is under way is answered first.
    """
    settings = settings_now()
    if whole_server and model is not None:
        raise click.UsageError("Name a model, or --server, not both.")
    if whole_server:
        _stop_server(settings)
        return
    if model is None:
        raise click.UsageError("Name a model (`hearth ps` shows them), or --server.")
    with client_of(require_server(settings)) as client:
        was_loaded = client.unload(model)
    say(f"'{model}' has left the memory." if was_loaded else f"'{model}' was not in memory.")


def _stop_server(settings: Settings) -> None:
    """Asks this machine's server to leave politely, and waits until it has."""
    from codehearth.gateway.running import find_running

    running = find_running(settings.data)
    if running is None:
        raise ServerUnreachable("No server is running on this machine.")
    os.kill(running.pid, signal.SIGTERM)
    say("The server answers what is under way, then it stops.")
    patient_until = time.monotonic() + settings.drain + _PATIENCE_S
    while find_running(settings.data) is not None:
        if time.monotonic() > patient_until:
            raise HearthError(
                f"The server (process {running.pid}) has not stopped yet.",
                hint="`hearth logs` may say what it waits for",
            )
        time.sleep(_LOOK_AGAIN_S)
    say("The server has stopped.")
