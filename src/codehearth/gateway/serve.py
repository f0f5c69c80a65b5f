"""One running server: from its settings to its last answer.

1. What must not start is refused with one line: a second server, a taken port, an open door.
2. The house is put together, the socket opened, the default model loaded in the background.
3. The first SIGTERM or SIGINT lets nobody in, waits for the answers under way, stops the
   children and ends with 0. The second one does not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from codehearth.errors import BadSetting, HearthError
from codehearth.gateway.app import create_app
from codehearth.gateway.auth import Doorkeeper
from codehearth.gateway.door import Leaving
from codehearth.gateway.house import House
from codehearth.gateway.late_page import LatePage, PageMaker
from codehearth.gateway.metrics import Metrics
from codehearth.gateway.opening import Opener
from codehearth.gateway.page.desk import open_desk
from codehearth.gateway.protocol import BoundedProtocol
from codehearth.gateway.replies import describe
from codehearth.gateway.running import announced, only_server
from codehearth.gateway.stores import make_store, with_named_model
from codehearth.models.hardware import snapshot
from codehearth.models.planning import gpu_bytes_to_plan_with
from codehearth.pool.amount import Amount
from codehearth.pool.limits import Limits
from codehearth.pool.pool import Pool
from codehearth.records.keys import Keys
from codehearth.settings import Settings

log = logging.getLogger(__name__)

_KEEP_CONNECTION_S = 75
_LAST_BYTES_S = 5
_BACKLOG = 2048


def serve(
    settings: Settings, *, on_ready: Callable[[str], None], page_maker: PageMaker | None = None
) -> None:
    """Serves until a signal ends it; raises HearthError where it cannot start.

    `on_ready` is told the address once the server takes requests. Without a `page_maker` there
    is no page.
    """
    _raise_file_limit()
    with only_server(settings.data), contextlib.closing(Keys(settings.data)) as keys:
        _refuse_open_door(settings, keys)
        with contextlib.closing(_bind(settings.host, settings.port)) as listener:
            _run(_serve(settings, keys, listener, on_ready, page_maker))


async def _serve(
    settings: Settings,
    keys: Keys,
    listener: socket.socket,
    on_ready: Callable[[str], None],
    page_maker: PageMaker | None,
) -> None:
    leaving = Leaving()
    house = open_house(settings)
    token = secrets.token_urlsafe(32)
    doorkeeper = Doorkeeper(keys, operator_token=token, is_loopback=settings.is_loopback)
    desk = await open_desk(house)
    page = LatePage(page_maker) if page_maker else None
    app = create_app(house, desk, doorkeeper=doorkeeper, leaving=leaving, page=page)
    server = _Server(app, house, leaving, drain_s=settings.drain)
    url = _url(settings.host, listener.getsockname()[1])
    with announced(settings.data, url, token):
        preload = asyncio.create_task(_preload(house)) if settings.preload else None
        making = asyncio.create_task(page.build()) if page else None
        try:
            await server.serve_until_signal(listener, on_ready=lambda: on_ready(url))
        finally:
            for task in (preload, making):
                if task is not None:
                    task.cancel()
            await desk.close()
            await house.repositories.close()
            await house.pool.close(0.0)


def _free_memory() -> Amount:
    here = snapshot()
    return Amount(here.free_bytes, gpu_bytes_to_plan_with(here))


def open_house(settings: Settings) -> House:
    """Store, pool and metrics as the settings say. Must be called in the server's loop."""
    store = make_store(settings)
    settings = with_named_model(settings)
    pool = Pool(
        open_model=Opener(settings, store),
        read_memory=_free_memory,
        limits=Limits(
            budget_bytes=settings.memory or None,
            keep_alive_s=settings.keep_alive,
            min_stay_s=settings.min_stay,
            max_waiting=settings.max_waiting,
            stall_s=settings.stall_timeout,
        ),
    )
    return House(settings=settings, store=store, pool=pool, metrics=Metrics(pool))


async def _preload(house: House) -> None:
    """Loads the default model before anybody asks. A failure is told when somebody does."""
    try:
        await house.pool.load(await house.process_of(None))
    except HearthError as error:
        log.warning("the default model was not loaded: %s", describe(error))


def server_config(app: ASGIApp) -> uvicorn.Config:
    """How uvicorn serves us: our bounded HTTP/1.1, no second log, connections kept long enough.

    A client that sends on a kept connection just when the server closes it sees a failure, so
    the server waits longer than the clients' own limits.
    """
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_CONNECTION_S,
        timeout_graceful_shutdown=_LAST_BYTES_S,
    )


class _Server(uvicorn.Server):
    """uvicorn's server with our own way to leave: refuse, wait, stop the children, then close."""

    def __init__(self, app: ASGIApp, house: House, leaving: Leaving, *, drain_s: float) -> None:
        super().__init__(server_config(app))
        self._house = house
        self._leaving = leaving
        self._drain_s = drain_s
        self._farewell: asyncio.Task[None] | None = None

    async def serve_until_signal(
        self, listener: socket.socket, *, on_ready: Callable[[], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        self._on_ready = on_ready
        await self.serve(sockets=[listener])
        if self._farewell is not None:
            await asyncio.wait((self._farewell,))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would take the signals and close the door before the answers are out."""
        yield

    def _on_signal(self) -> None:
        if self._farewell is None:
            log.info("leaving: waiting up to %g s for answers under way", self._drain_s)
            self._leaving.is_draining = True
            self._farewell = asyncio.create_task(self._leave())
        else:
            log.info("leaving at once")
            self.should_exit = self.force_exit = True
            self._farewell.cancel()

    async def _leave(self) -> None:
        try:
            await self._house.pool.close(self._drain_s)
        finally:
            self.should_exit = True


def _run(main: Coroutine[Any, Any, None]) -> None:
    if sys.platform == "win32":
        asyncio.run(main)
    else:
        import uvloop

        uvloop.run(main)


def _bind(host: str, port: int) -> socket.socket:
    """The listening socket; raises BadSetting where the address cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)  # whoever reads our address may knock before uvicorn is ready
    except OSError as error:
        raise BadSetting(
            f"Cannot listen on {host} port {port}: {error.strerror or error}.",
            hint="another program may use the port; choose one with --port, or 0 for any",
        ) from error
    return listener


def _refuse_open_door(settings: Settings, keys: Keys) -> None:
    if not settings.is_loopback and not keys.are_required():
        raise BadSetting(
            f"Listening on {settings.host} without a key would let everybody in.",
            hint="make one first: `hearth keys create NAME`",
        )


def _url(host: str, port: int) -> str:
    name = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _raise_file_limit() -> None:
    """As many open files as we may: each client and each of its engine connections is one."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else hard
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, 65_536)), hard))
