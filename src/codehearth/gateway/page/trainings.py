"""Trainings that the page has started: `hearth tune` as a child each, whose job lies on disk.

The job's folder says how far it is (`lab.tuning.jobs`), whoever started it; here is only who runs
as our child, and how it is stopped: by an interrupt, so that it keeps what was learnt. A server
that ends takes its children along, and the same order goes on later.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from codehearth.errors import Conflict, DiskFull, InvalidRequest
from codehearth.lab.sandbox import require_protection
from codehearth.lab.tuning.evaluating import AUTO, NONE, suite_of
from codehearth.lab.tuning.jobs import ENDS, Job, Jobs
from codehearth.lab.tuning.ordering import House, Order, ready
from codehearth.models.hardware import snapshot
from codehearth.models.store import Store
from codehearth.workers import tether

_STOP_S = 20.0
_FLAGS = {"held_share": "held-out", "quantise": "quantize", "precision": "to"}


class Trainings:
    """The children of one running server. Use it in the server's loop."""

    def __init__(self, data: Path, store: Store, environments: Path) -> None:
        self._data = data
        self._store = store
        self._environments = environments
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self.jobs = Jobs(data / "tune")

    def plan(self, order: Order) -> dict[str, Any]:
        """What would be done; blocks. Raises as `lab.tuning.ordering.ready` and
        `lab.tuning.evaluating.suite_of` do: what a child refuses nobody would see."""
        house = House(self._data, self._store, self._environments, snapshot())
        plan = ready(order, house).prepared.as_document()
        if order.evaluate not in (AUTO, NONE):
            suite_of(order.evaluate, require_protection())
        return plan

    async def start(self, order: Order) -> dict[str, Any]:
        """Starts a training, or goes on with the same one; the plan.

        Raises Conflict where it is under way, and another one of ours is: two would share the
        machine and both take longer.
        """
        plan = await asyncio.to_thread(self.plan, order)
        job = Job(self.jobs.folder / str(plan["job"]))
        await self._let_end()
        if any(child.returncode is None for child in self._children.values()):
            raise Conflict("A training is under way.", hint="wait for it, or stop it")
        if await asyncio.to_thread(job.is_running):
            raise Conflict("Another command works on this training just now.")
        await asyncio.to_thread(self._write, job, order, plan)
        self._children[job.id] = await self._child(job, order)
        return plan

    async def resume(self, job_id: str) -> dict[str, Any]:
        """Goes on with a job that the page has started; raises NotFound and InvalidRequest."""
        job = self.jobs.get(job_id)
        try:
            kept = json.loads((job.folder / "order.json").read_text(encoding="utf-8"))
            order = _order(kept)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidRequest(
                "This training was started by a command.", hint="give the same command again"
            ) from error
        return await self.start(order)

    async def stop(self, job_id: str) -> None:
        """Interrupts a training of ours; what was learnt is kept. Raises Conflict."""
        if not self.is_under_way(job_id):
            raise Conflict("This training is not under way in this server.", hint="reload the page")
        self._children[job_id].send_signal(signal.SIGINT)

    def is_under_way(self, job_id: str) -> bool:
        """Whether a child of ours is at it, also while it starts and holds no lock yet."""
        child = self._children.get(job_id)
        return child is not None and child.returncode is None and not self._has_ended(job_id)

    async def _let_end(self) -> None:
        """Waits for children whose work is done: they are leaving."""
        for job_id, child in self._children.items():
            if child.returncode is None and self._has_ended(job_id):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(child.wait(), _STOP_S)

    def _has_ended(self, job_id: str) -> bool:
        seen = Job(self.jobs.folder / job_id).seen()
        return seen is None or (seen.state.phase in ENDS and not seen.is_running)

    async def close(self) -> None:
        running = [child for child in self._children.values() if child.returncode is None]
        for child in running:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGINT)
        waits = [asyncio.wait_for(child.wait(), _STOP_S) for child in running]
        for child, ended in zip(
            running, await asyncio.gather(*waits, return_exceptions=True), strict=True
        ):
            if isinstance(ended, BaseException):
                with contextlib.suppress(ProcessLookupError):
                    child.kill()

    def keep_rows(self, name: str, content: str) -> Path:
        """The file of rows that a browser sent, where a training finds it again."""
        digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        folder = self.jobs.folder.parent / "tune-rows" / digest
        path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except (OSError, UnicodeEncodeError) as error:
            raise DiskFull("The rows cannot be written.") from error
        return path

    def _write(self, job: Job, order: Order, plan: dict[str, Any]) -> None:
        """The job before its child has begun, so that it is seen at once."""
        job.write("order.json", json.dumps(_document(order), ensure_ascii=False))
        if job.seen() is None:
            facts = ("name", "base", "data", "data_sha256", "hyperparameters", "device")
            asked = {fact: plan[fact] for fact in facts}
            asked |= {"num_rows": plan["num_training"], "num_held_out": plan["num_held_out"]}
            job.write("job.json", json.dumps(asked, ensure_ascii=False))
        job.enter("prepared")

    async def _child(self, job: Job, order: Order) -> asyncio.subprocess.Process:
        with (job.folder / "command.log").open("wb") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), "--",
                sys.executable, "-P", "-m", "codehearth", *words(order),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"HEARTH_DATA": str(self._data.absolute())},
                cwd=self._data,
                start_new_session=True,
            )  # fmt: skip


def words(order: Order) -> tuple[str, ...]:
    """The command that carries out an order; what is as always is left out."""
    return ("tune", order.model, "--json", *_flags(order))


def _flags(order: Order) -> Iterator[str]:
    usual = Order(order.model)
    for one in fields(Order):
        value = getattr(order, one.name)
        if one.name in ("model", "numbers") or value == getattr(usual, one.name):
            continue
        yield from (f"--{_FLAGS.get(one.name, one.name.replace('_', '-'))}", str(value))
    for name, value in order.numbers.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{flag}" if value else f"--no-{flag}"
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield from (f"--{flag}", ",".join(map(str, value)))
        elif value is not None:
            yield from (f"--{flag}", str(value))


def _document(order: Order) -> dict[str, Any]:
    found = {one.name: getattr(order, one.name) for one in fields(Order)}
    for place in ("data", "repo"):
        found[place] = None if found[place] is None else str(found[place])
    return found


def _order(document: dict[str, Any]) -> Order:
    order = Order(**document)
    return replace(
        order,
        data=None if order.data is None else Path(order.data),
        repo=None if order.repo is None else Path(order.repo),
    )
