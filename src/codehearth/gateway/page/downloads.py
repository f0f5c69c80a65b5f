"""Downloads as jobs of the server: they survive a reload of the page, and a restart as paused.

The bytes, their resumption and their check are `models/pull.py`'s. Here is only who runs now, how
far it is, and how it is stopped: the store's progress callback raises in the download's thread.
What has arrived by then is kept in the hub's cache, and a resumed pull goes on from it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import asdict, fields
from functools import partial
from typing import Any, Literal

from codehearth.errors import Conflict, HearthError, NotFound, RecordsUnavailable
from codehearth.gateway.page.archive import Archive
from codehearth.gateway.page.pull import FilePull, Pull, State
from codehearth.gateway.replies import describe, error_body, unexpected
from codehearth.models.names import CatalogueName, HubName, parse_name
from codehearth.models.progress import Progress
from codehearth.models.sources import sources_of
from codehearth.models.store import LocalModel, Store

log = logging.getLogger(__name__)

Wish = Literal["pause", "cancel"]

MAX_AT_A_TIME = 2
MAX_REMEMBERED = 100
_SAVE_EVERY_S = 2.0


class Stopped(Exception):
    """Raised in a download's thread when it shall not go on."""


class Downloads:
    """All pulls that the server knows of. Use it in the server's loop."""

    def __init__(self, store: Store, archive: Archive) -> None:
        self._store = store
        self._archive = archive
        self._pulls: dict[str, Pull] = {}
        self._wishes: dict[str, Wish] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(MAX_AT_A_TIME)

    async def open(self) -> None:
        """Reads the pulls of the last server; what ran then is paused."""
        known = {one.name for one in fields(Pull)}
        for document in await self._archive.do(self._archive.pulls.all):
            pull = Pull(**{name: value for name, value in document.items() if name in known})
            pull.files = [FilePull(**one) for one in document.get("files", ())]
            if pull.is_active:
                pull.state, pull.bytes_per_s, pull.left_s = "paused", 0.0, None
            self._pulls[pull.id] = pull

    def all(self) -> tuple[Pull, ...]:
        """The newest first."""
        return tuple(reversed(self._pulls.values()))

    def get(self, id: str) -> Pull:
        if id not in self._pulls:
            raise NotFound("There is no such pull.")
        return self._pulls[id]

    def of_model(self, name: str) -> Pull | None:
        """The newest pull of a model that is not over."""
        return next(
            (one for one in self.all() if one.model == name and not one.is_over),
            None,
        )

    async def start(self, model: str) -> tuple[Pull, bool]:
        """The pull of a model, and whether it is new; raises for a name that is on no hub."""
        running = self.of_model(model)
        if running is not None:
            return (await self.resume(running.id) if not running.is_active else running), False
        name = parse_name(model)
        assert isinstance(name, CatalogueName | HubName)
        sources_of(name)
        pull = Pull(model)
        self._pulls[pull.id] = pull  # before anything is waited for: a second request finds it
        try:
            await self._archive.do(self._archive.pulls.put, asdict(pull))
            await self._forget_oldest()
        except RecordsUnavailable:
            del self._pulls[pull.id]
            raise
        if pull.state == "queued":  # and not stopped meanwhile
            self._run(pull)
        return pull, True

    async def pause(self, id: str) -> Pull:
        return await self._stop(id, "pause")

    async def cancel(self, id: str) -> Pull:
        return await self._stop(id, "cancel")

    async def resume(self, id: str) -> Pull:
        pull = self.get(id)
        if pull.state == "pausing":
            raise Conflict("This pull is just being stopped.", hint="try again in a moment")
        newer = self.of_model(pull.model)
        if newer is not None and newer is not pull:
            return await self.resume(newer.id)  # two threads must not fetch the same files
        if pull.state in ("paused", "failed", "cancelled"):
            pull.begin_again()
            self._run(pull)
        return pull

    async def forget(self, id: str) -> None:
        """Drops a pull that is over or paused from the list."""
        if self.get(id).is_active:
            raise Conflict("This pull is under way.", hint="cancel it first")
        pull = self._pulls.pop(id)
        try:
            await self._archive.do(self._archive.pulls.drop, id)
        except RecordsUnavailable:
            self._pulls[id] = pull
            raise

    async def close(self) -> None:
        """Stops all without waiting for slow lines: their threads end with the process."""
        for id in tuple(self._tasks):
            self._wishes[id] = "pause"
            self._tasks[id].cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=_SAVE_EVERY_S)

    async def _stop(self, id: str, wish: Wish) -> Pull:
        pull = self.get(id)
        if pull.state == "queued":
            if task := self._tasks.get(id):
                task.cancel()
                await asyncio.wait((task,))
            pull.state = _state_after(wish)
        elif pull.is_active:
            self._wishes[id], pull.state = wish, "pausing"
        elif pull.state in ("paused", "failed") and wish == "cancel":
            pull.state = "cancelled"
        if pull.state == "cancelled":
            await self._discard(pull)
        await self._save(pull)
        return pull

    def _run(self, pull: Pull) -> None:
        self._wishes.pop(pull.id, None)
        task = asyncio.create_task(self._pull(pull))
        self._tasks[pull.id] = task
        task.add_done_callback(partial(self._ended, pull.id))

    def _ended(self, id: str, task: asyncio.Task[None]) -> None:
        """A pull that was resumed meanwhile has another task."""
        if self._tasks.get(id) is task:
            del self._tasks[id]

    async def _pull(self, pull: Pull) -> None:
        async with self._room:
            pull.state = "downloading"
            try:
                found = await self._in_thread(pull)
                pull.name, pull.state = found.name, "done"
            except Stopped:
                pull.state = _state_after(self._wishes.get(pull.id, "pause"))
            except HearthError as error:
                log.warning("the pull of '%s' failed: %s", pull.model, describe(error))
                pull.state, pull.error = "failed", error_body(error)["error"]
            except Exception:
                log.exception("the pull of '%s' failed by a mistake of ours", pull.model)
                pull.state, pull.error = "failed", error_body(unexpected())["error"]
        if pull.state == "cancelled":
            await self._discard(pull)
        pull.bytes_per_s, pull.left_s, pull.updated_at = 0.0, None, time.time()
        await self._save(pull)

    async def _discard(self, pull: Pull) -> None:
        """Half of a model is of no use to who does not want it. Others of the same repository
        may still want theirs, so it stays as long as any pull is not over."""
        if not all(one.is_over for one in self._pulls.values()):
            return
        try:
            freed = await asyncio.to_thread(self._store.discard, pull.model)
        except (HearthError, OSError) as error:
            log.warning("what was left of a pull could not be deleted: %s", error)
        else:
            pull.done_bytes = 0
            log.info("the pull of '%s' was cancelled; %d bytes are free again", pull.model, freed)

    async def _in_thread(self, pull: Pull) -> LocalModel:
        """The download in a thread that may be left behind: a stuck line must not hold the end."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[LocalModel] = loop.create_future()

        def progress(report: Progress) -> None:
            if pull.id in self._wishes:
                raise Stopped
            pull.report(report)

        def work() -> None:
            try:
                _tell(loop, done, self._store.pull(pull.model, progress=progress), None)
            except BaseException as error:  # noqa: BLE001 - it is raised again in the loop
                _tell(loop, done, None, error)

        threading.Thread(target=work, name=f"pull-{pull.model}", daemon=True).start()
        while not done.done():
            await asyncio.wait((done,), timeout=_SAVE_EVERY_S)
            await self._save(pull)
        return done.result()

    async def _save(self, pull: Pull) -> None:
        """A pull whose state cannot be written goes on; it is only forgotten by a restart."""
        try:
            await self._archive.do(self._archive.pulls.put, asdict(pull))
        except RecordsUnavailable as error:
            log.warning("the state of a pull was not saved: %s", describe(error))

    async def _forget_oldest(self) -> None:
        over = [one for one in self._pulls.values() if one.is_over]
        for pull in over[: max(0, len(self._pulls) - MAX_REMEMBERED)]:
            await self.forget(pull.id)


def _state_after(wish: Wish) -> State:
    return "cancelled" if wish == "cancel" else "paused"


def _tell(
    loop: asyncio.AbstractEventLoop,
    done: asyncio.Future[Any],
    result: object,
    error: BaseException | None,
) -> None:
    """From the download's thread to the loop, which may be gone by then."""

    def settle() -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        log.info("a download ended after the server")
