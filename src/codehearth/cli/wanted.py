"""The model that a command wants, before it asks for it: here, or fetched if the user agrees."""

from __future__ import annotations

from codehearth.cli.output import is_interactive
from codehearth.cli.reach import Server, client_of
from codehearth.errors import HearthError, ModelNotFound, NotFound
from codehearth.settings import Settings


def available(
    settings: Settings, server: Server | None, model: str | None, *, yes: bool
) -> str | None:
    """The model under a name that the server will know; fetched if the user wants that.

    Raises ModelNotFound, with the command that fetches it where there is one.
    """
    if server is None:
        model = model or settings.model
    if model is None or (server is not None and not server.is_own):
        return model
    try:
        return _find(settings, server, model)
    except ModelNotFound as error:
        if not _can_fetch(model) or not (yes or is_interactive()):
            raise
        from codehearth.cli.pull import fetch
        from codehearth.cli.questions import agreed
        from codehearth.cli.shelf import store_of

        if not agreed(f"'{model}' is not on this machine. Fetch it?", yes=yes):
            raise error from None
        return fetch(store_of(settings), model).name


def _find(settings: Settings, server: Server | None, model: str) -> str:
    from codehearth.cli.shelf import store_of
    from codehearth.models.names import PathName, parse_name

    if server is None:
        found = store_of(settings).find(model, allow_path=True)
        return str(found.path) if found.source == "path" else found.name
    with client_of(server) as client:
        try:
            return client.model(model).name
        except NotFound:
            if isinstance(parse_name(model, allow_path=True), PathName):
                raise NotFound(
                    f"The running server does not know '{model}'.",
                    hint=f"`hearth stop --server`, then `hearth serve -m {model}`",
                ) from None
            raise


def _can_fetch(model: str) -> bool:
    from codehearth.models.catalogue import resolve
    from codehearth.models.names import CatalogueName, HubName, parse_name

    try:
        name = parse_name(model, allow_path=True)
        if isinstance(name, CatalogueName):
            return bool(resolve(name)[0].files)
    except HearthError:
        return False
    return isinstance(name, HubName)
