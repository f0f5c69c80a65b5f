"""`hearth keys`: who may use the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from codehearth.cli.options import json_option, settings_now
from codehearth.cli.output import moment, print_data, print_json, print_table, say

if TYPE_CHECKING:
    from codehearth.records.keys import Key, Keys, Role


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    Without any key, everybody on this machine may use the server, and nobody else. From the first
    key on, every request needs one.
    """


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["chat", "admin"]),
    default="chat",
    show_default=True,
    help="`chat` asks models; `admin` may also load, fetch and delete them.",
)
def create(name: str, role: Role) -> None:
    """Make a key and print it, once: it is kept as a digest and cannot be shown again."""
    records = _records()
    is_first = not records.are_required()
    print_data(records.create(name, role=role))
    say(f"This is the key of '{name}' ({role}). Keep it now; it cannot be shown again.")
    if is_first:
        say("It is the first one: from now on every request to the server needs a key.")


@keys.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """Show the keys: their names, roles and times, never the keys themselves."""
    known = _records().all()
    if as_json:
        print_json([_as_json(key) for key in known])
        return
    if not known:
        say("There are no keys. `hearth keys create NAME` makes one.")
        return
    rows = [
        (
            key.name,
            key.role,
            moment(key.created_at),
            moment(key.revoked_at) if key.revoked_at else "",
        )
        for key in known
    ]
    print_table(("NAME", "ROLE", "CREATED", "REVOKED"), rows)


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke a key; a running server refuses it from the next request on."""
    _records().revoke(name)
    say(f"The key '{name}' is revoked.")


def _records() -> Keys:
    from codehearth.records.keys import Keys

    return Keys(settings_now().data)


def _as_json(key: Key) -> dict[str, object]:
    return {
        "name": key.name,
        "role": key.role,
        "created_at": int(key.created_at),
        "revoked_at": int(key.revoked_at) if key.revoked_at else None,
    }
