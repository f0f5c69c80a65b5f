"""`hearth serve`: the server, until a signal ends it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from codehearth import __version__
from codehearth.cli.options import settings_options
from codehearth.cli.output import print_data, say
from codehearth.settings import Settings, read_settings

if TYPE_CHECKING:
    from codehearth.gateway.late_page import PageMaker


@click.command()
@settings_options()
def serve(**flags: Any) -> None:
    """Serve the models of this machine to any OpenAI client.

    Any request's `model` is loaded when it is asked for; -m names the one that answers where a
    request names none: a name of the catalogue, hf:org/repo, ms:org/repo, or a path to a GGUF file
    or to the folder of a checkpoint.
    The address is printed on standard output once requests are taken.
    """
    serve_here(read_settings(flags=flags))


def serve_here(settings: Settings) -> None:
    """Serves in this process; raises HearthError where the server cannot start.

    The default model must be here: better no server than one whose first answer is an error. Where
    its name says no precision, the one that was measured best here is taken.
    """
    from codehearth.cli.advised import advised_name, names_no_precision
    from codehearth.cli.server_log import begin_log
    from codehearth.cli.shelf import store_of
    from codehearth.gateway.serve import serve as serve_house

    store = store_of(settings)
    found = store.find(settings.model, allow_path=True)
    if names_no_precision(settings.model):
        settings = replace(settings, model=advised_name(settings, store, found))

    begin_log(settings)
    serve_house(
        settings,
        on_ready=partial(_announce, settings),
        page_maker=_page_maker() if settings.page else None,
    )


def _page_maker() -> PageMaker:
    from codehearth.gateway.late_page import PageMaker
    from codehearth.web.page import build_page, page_paths

    return PageMaker(build=build_page, owns=page_paths)


def _announce(settings: Settings, url: str) -> None:
    with suppress(OSError):  # nobody may be reading any more; that is no reason to stop
        print_data(url)
        say(f"CodeHearth {__version__} serves '{settings.model}' to any OpenAI client at {url}/v1.")
        if settings.page:
            say(
                f"The page is at {url}/. `hearth run` chats in a terminal. Ctrl-C stops the server."
            )
