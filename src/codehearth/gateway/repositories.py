"""The indexed repositories as requests use them: searched in threads, kept fresh while in use.

An index that is searched is refreshed beside it, at most once a minute: the answer does not wait,
and the next one sees what changed. Where the folder cannot be read (another user's, or gone), the
index stays as it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from codehearth.errors import HearthError
from codehearth.repo.context import Found
from codehearth.repo.query import terms_of
from codehearth.repo.shelf import Repository, Shelf, same_place

log = logging.getLogger(__name__)

REFRESH_EVERY_S = 60.0
_LISTED_FOR_S = 5.0
_MOST_FOUND = 40
_MAX_REMEMBERED = 64


class Repositories:
    """One server's. A search is remembered as long as nobody has written to its index."""

    def __init__(self, data: Path) -> None:
        self._shelf = Shelf(data)
        self._listed: tuple[float, tuple[Repository, ...]] = (-_LISTED_FOR_S, ())
        self._refreshed_at: dict[str, float] = {}
        self._refreshing: set[asyncio.Task[None]] = set()
        self._remembered: OrderedDict[tuple[object, ...], list[Found]] = OrderedDict()

    async def all(self) -> tuple[Repository, ...]:
        """Looked up anew every few seconds: `hearth repo add` is another process."""
        at, found = self._listed
        if time.monotonic() - at > _LISTED_FOR_S:
            found = await asyncio.to_thread(self._shelf.all)
            self._listed = (time.monotonic(), found)
        return found

    async def search(self, name: str, text: str, *, without: str = "") -> Sequence[Found]:
        """Chunks that hold the telling words of `text`, best first, none of the file `without`.

        Raises NotFound for a name that is not indexed here.
        """
        index = await asyncio.to_thread(self._shelf.get, name)
        self._refresh_beside(name)
        terms = terms_of(text)
        key = (name, index.stamp(), terms, without)
        found = self._remembered.get(key)
        if found is None:
            found = await asyncio.to_thread(index.search, terms, limit=_MOST_FOUND, without=without)
            self._remembered[key] = found
            if len(self._remembered) > _MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return found

    async def of_place(self, path: str | None, git_url: str | None) -> tuple[str, str] | None:
        """The repository that a file is of, by an address of git or by where it lies, and its path
        in it; None where that is none of ours."""
        is_whole = path is not None and Path(path).is_absolute()
        if not is_whole and not git_url:
            return None
        for one in await self.all():
            if git_url and any(same_place(git_url, url) for url in one.facts.git_urls):
                return one.name, path or ""
            if path and is_whole and Path(path).is_relative_to(one.facts.root):
                return one.name, Path(path).relative_to(one.facts.root).as_posix()
        return None

    async def close(self) -> None:
        if self._refreshing:
            await asyncio.wait(self._refreshing)

    def _refresh_beside(self, name: str) -> None:
        now = time.monotonic()
        if now - self._refreshed_at.get(name, -REFRESH_EVERY_S) < REFRESH_EVERY_S:
            return
        self._refreshed_at[name] = now
        task = asyncio.create_task(self._refresh(name))
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)

    async def _refresh(self, name: str) -> None:
        try:
            await asyncio.to_thread(lambda: self._shelf.get(name).refresh())
        except (HearthError, OSError) as error:
            log.info("the repository %s was not refreshed: %s", name, error)
