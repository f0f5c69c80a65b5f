"""What else of the repository an infilled middle is shown: chunks that the lines above name.

The repository is the one that is named, else the one that the file is of: by the address of git
that Tabby's clients send, or by its whole path. The line that is being typed takes no part in the
search, so that what stands before it stays the same, and in the engine's cache.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from codehearth.errors import HearthError
from codehearth.gateway.house import House
from codehearth.gateway.infilling.infill import Infill, Notes
from codehearth.repo.context import Found, packed
from codehearth.repo.query import before_cursor
from codehearth.text.fim import Snippet

log = logging.getLogger(__name__)

MAX_CHARACTERS = 3000


async def with_neighbours(house: House, infill: Infill, notes: Notes) -> Infill:
    """The request with snippets before those that the editor sent; the most telling last.

    Raises what is wrong with a repository that is named. One that nobody named takes no suggestion
    away: what is wrong with it is logged.
    """
    try:
        return await _with_neighbours(house, infill, notes)
    except HearthError as error:
        if infill.repository is not None:
            raise
        log.info("a middle is made without its repository: %s", error)
        return infill


async def _with_neighbours(house: House, infill: Infill, notes: Notes) -> Infill:
    place = await house.repositories.of_place(infill.fim.path, infill.git_url)
    if place is None and infill.repository is None:
        return infill
    name, path = place or ("", infill.fim.path or "")
    found = await house.repositories.search(
        infill.repository or name, before_cursor(infill.fim.prefix), without=path
    )
    sent = {snippet.path for snippet in infill.fim.snippets}
    notes.shown = packed(
        (one for one in found if one.path not in sent), max_characters=MAX_CHARACTERS
    )
    snippets = (*map(_snippet, reversed(notes.shown)), *infill.fim.snippets)
    return replace(infill, fim=replace(infill.fim, snippets=snippets))


def _snippet(one: Found) -> Snippet:
    return Snippet(one.path, one.text)
