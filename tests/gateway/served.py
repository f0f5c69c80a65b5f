"""A real server of ours on a loopback port, whose models are fake engines as real children.

The server runs in a thread with a loop of its own, so tests may use any blocking client. What it
serves is `tests/fake_engine.py`, so every kind of misbehaviour can be had on command.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from codehearth.engines.base import Command
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.process import EngineProcess, Patience
from codehearth.errors import InvalidRequest, ModelNotFound
from codehearth.gateway.app import create_app
from codehearth.gateway.auth import Doorkeeper
from codehearth.gateway.door import Leaving
from codehearth.gateway.house import House
from codehearth.gateway.metrics import Metrics
from codehearth.gateway.page.desk import open_desk
from codehearth.gateway.serve import server_config
from codehearth.models.facts import Weights
from codehearth.models.store import LocalModel
from codehearth.pool import Limits, ModelFacts, OpenModel, Pool, Room
from codehearth.pool.amount import Amount
from codehearth.records.keys import Keys
from codehearth.settings import Settings

FAKE = Path(__file__).parent.parent / "fake_engine.py"
QWEN_MARKS = frozenset({"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"})
WEIGHTS = Weights(
    kind="gguf",
    architecture="qwen2",
    num_parameters=1_000_000,
    num_bytes=1_000_000,
    precision="Q8_0",
    num_layers=2,
    embedding_size=64,
    num_heads=1,
    num_kv_heads=1,
    key_size=64,
    value_size=64,
    feed_forward_size=256,
    vocabulary_size=1000,
    context_tokens=4096,
    chat_template="{{ messages }}",
    fim_marks=QWEN_MARKS,
)


@dataclass
class FakeModel:
    """One model on the shelf: how its child behaves and what is known about it."""

    flags: tuple[str, ...] = ("--tokens", "8")
    weights: Weights = WEIGHTS
    num_slots: int = 4
    endpoint: Endpoint | None = None

    def control(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Asks the child for its counters, or tells it to misbehave from now on."""
        assert self.endpoint is not None and self.endpoint.socket_path is not None
        with contextlib.closing(http.client.HTTPConnection("engine")) as connection:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self.endpoint.socket_path))
            connection.request("POST" if body else "GET", path, json.dumps(body) if body else None)
            with connection.getresponse() as response:
                return json.loads(response.read())

    def num_running(self) -> int:
        """Generations under way in the child; 0 as long as there is none."""
        try:
            return int(self.control("/fake/stats")["running"]) if self.endpoint else 0
        except OSError:
            return 0


@dataclass
class Shelf:
    """What the gateway needs of a store, over the fake models."""

    models_by_name: dict[str, FakeModel]

    def find(self, name: str) -> LocalModel:
        if name not in self.models_by_name:
            raise ModelNotFound(name, nearest=tuple(self.models_by_name)[:1])
        return LocalModel(
            name=name,
            path=Path("/nowhere"),
            format="gguf",
            precision="Q8_0",
            num_bytes=1_000_000,
            source="path",
            revision=None,
            row=None,
            sha256={},
            created_at=1_700_000_000,
        )

    def locate(self, name: str) -> LocalModel:
        return self.find(name)

    def check_removable(self, model: LocalModel) -> None:
        raise InvalidRequest(f"'{model.name}' was not downloaded.", param="model")

    def models(self) -> tuple[LocalModel, ...]:
        return tuple(self.find(name) for name in self.models_by_name)


class FakeOpener:
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def __call__(self, name: str, *, attempt: int, room: Room) -> OpenModel | None:
        model = self._shelf.models_by_name[name]

        def command(endpoint: Endpoint) -> Command:
            model.endpoint = endpoint
            argv = (sys.executable, str(FAKE), "--socket", str(endpoint.socket_path), *model.flags)
            key = {"FAKE_ENGINE_KEY": endpoint.api_key, "PATH": os.environ.get("PATH", "")}
            return Command(argv, key)

        facts = ModelFacts(
            name=name, context_tokens=4096, num_slots=model.num_slots, weights=model.weights
        )
        process = EngineProcess(name, command, patience=Patience(start_s=20, stop_s=2))
        return OpenModel(process=process, footprint=Amount(1_000_000), facts=facts, engine="fake")


@dataclass
class Served:
    """A running server: where it is, and its fake models."""

    port: int
    models: dict[str, FakeModel]
    keys: Keys
    house: House
    leaving: Leaving
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One plain HTTP request; a dict or list is sent as JSON."""
        sent = dict(headers or {})
        if isinstance(body, dict | list):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request(method, path, body, sent)
            with connection.getresponse() as response:
                got = {name.lower(): value for name, value in response.getheaders()}
                return response.status, got, response.read()

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        status, _, data = self.request("POST", path, body, headers)
        return status, json.loads(data)


@contextlib.contextmanager
def served(
    tmp_path: Path,
    models: Mapping[str, FakeModel] | None = None,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    **settings: Any,
) -> Iterator[Served]:
    """A server on a free port until the block ends."""
    shelf = Shelf(dict(models or {"fake": FakeModel()}))
    options = {"model": next(iter(shelf.models_by_name)), "data": tmp_path / "data"} | settings
    loop = uvloop.new_event_loop()
    keys = Keys(Path(str(options["data"])))
    listener = socket.create_server(("127.0.0.1", 0))
    leaving = Leaving()
    started: threading.Event = threading.Event()
    made: dict[str, Any] = {}

    async def live() -> None:
        pool = Pool(open_model=FakeOpener(shelf), read_memory=lambda: Amount(10**12), limits=limits)
        house = House(Settings(**options), shelf, pool, Metrics(pool))  # type: ignore[arg-type]
        doorkeeper = Doorkeeper(
            keys,
            operator_token="operator",
            is_loopback=house.settings.is_loopback,
        )
        desk = await open_desk(house)
        app = create_app(house, desk, doorkeeper=doorkeeper, leaving=leaving)
        server = uvicorn.Server(server_config(app))
        made.update(house=house, server=server)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has only the flag
            await asyncio.sleep(0.005)
        started.set()
        await serving
        await desk.close()
        await pool.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    assert started.wait(20)
    port = listener.getsockname()[1]
    try:
        yield Served(port, shelf.models_by_name, keys, made["house"], leaving, loop)
    finally:
        made["server"].should_exit = True
        thread.join(20)
        assert not thread.is_alive()
        loop.close()
        listener.close()
        keys.close()
