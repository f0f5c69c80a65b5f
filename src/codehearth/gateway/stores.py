"""The store as the settings describe it, and the name of a default model that is a path.

Apart from `opening`, so that a command that only lists models does not load the engines' room.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

from codehearth.errors import BadSetting
from codehearth.models.hubs import HubPreference
from codehearth.models.names import PathName, parse_name
from codehearth.models.remotes import parse_remotes
from codehearth.models.starter import STARTER
from codehearth.models.store import Store
from codehearth.settings import Settings


def make_store(settings: Settings) -> Store:
    """The store of these settings; a default model that is a path has a name in it.

    Whoever makes the data folder, it is its user's alone: keys and conversations will lie there.
    """
    with suppress(OSError):  # who only reads needs no folder; who writes is told
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    named = named_path(settings)
    allowed = dict(entry.rpartition("@")[::2] for entry in settings.allow_code)
    hub = cast(HubPreference, settings.hub)
    remote_names = parse_remotes(settings.remotes)
    return Store(
        settings.data,
        hub=hub,
        named_paths=named,
        allow_code=allowed,
        remote_names=remote_names,
        write_checkpoint=_write_checkpoint,
    )


def _write_checkpoint(gguf: Path, folder: Path) -> None:
    from codehearth.lab.gguf_checkpoint import write_checkpoint

    write_checkpoint(gguf, folder)


def with_named_model(settings: Settings) -> Settings:
    """The settings with the default model by the name that requests may use: never a path."""
    return replace(settings, model=next(iter(named_path(settings)), settings.model))


def named_path(settings: Settings) -> dict[str, Path]:
    """The default model's name and path if it is given by its path, as `./coder-7b.gguf`.

    A file gets its stem as name, a folder all of its name; raises BadSetting where that is the
    packaged model's, which would be served in its place.
    """
    asked = parse_name(settings.model, allow_path=True)
    if not isinstance(asked, PathName):
        return {}
    path = asked.path.absolute()
    name = path.name if path.is_dir() else path.stem
    if name == STARTER:
        raise BadSetting(
            f"The model '{settings.model}' has the packaged model's name.",
            hint="give its file another name",
        )
    return {name: path}
