"""The routes of models: which are here or could be, in which state, and whether they fit.

Loading and unloading are the operators' routes in `admin`; downloads have a file of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.errors import Conflict, ModelNotFound
from codehearth.gateway.auth import caller_of, require_admin
from codehearth.gateway.house import House, house_of
from codehearth.gateway.machine import usable_hardware
from codehearth.gateway.page.desk import Desk, desk_of
from codehearth.gateway.page.fits import (
    Verdict,
    as_if_left,
    room_bytes,
    verdict_of_local,
    verdict_of_row,
)
from codehearth.gateway.page.pull import Pull
from codehearth.gateway.replies import JsonResponse
from codehearth.models.catalogue import Row, catalogue, resolve
from codehearth.models.hardware import Hardware
from codehearth.models.local_models import LocalModel
from codehearth.models.names import CatalogueName, parse_name
from codehearth.models.precisions import same
from codehearth.models.pull import free_bytes_at
from codehearth.models.sources import default_precision
from codehearth.pool.status import ModelStatus

router = APIRouter()

_STATES = {
    "ready": "loaded",
    "loading": "loading",
    "waiting": "waiting",
    "draining": "draining",
    "failed": "failed",
}


@dataclass(frozen=True)
class _Scene:
    """What all rows of one answer are told from."""

    hardware: Hardware
    roomy: Hardware
    """As if the models in memory had left its GPUs."""
    budget_bytes: int
    lives: dict[str, ModelStatus]
    pulls: dict[str, Pull]
    is_admin: bool


@router.get("/hearth/models")
async def list_models(request: Request) -> Response:
    """Every model that is here or known, with what it needs and whether it fits."""
    house, desk = house_of(request), desk_of(request)
    local = await house.models()
    scene = await _scene(house, desk, is_admin=caller_of(request).is_admin)
    rows = await asyncio.to_thread(lambda: list(_rows(local, scene)))
    disk = await asyncio.to_thread(free_bytes_at, house.settings.data)
    answer = {
        "default_model": house.settings.model,
        "machine": _machine(scene.hardware, disk),
        "models": rows,
    }
    return JsonResponse(answer)


@router.get("/hearth/models/{name:path}")
async def show_model(request: Request, name: str) -> Response:
    """One model with all precisions that it can be had in; raises ModelNotFound."""
    house, desk = house_of(request), desk_of(request)
    local = await house.models()
    scene = await _scene(house, desk, is_admin=caller_of(request).is_admin)
    found = await asyncio.to_thread(_found, house, name, local, scene)
    return JsonResponse(found)


@router.delete("/hearth/models/{name:path}")
async def delete_model(request: Request, name: str) -> Response:
    """Deletes the files of a model that was fetched, unless it is in use."""
    require_admin(request)
    house = house_of(request)
    model = await asyncio.to_thread(house.store.locate, name)
    house.store.check_removable(model)
    process = await house.process_of(model.name)
    life = next((one for one in house.pool.status() if one.name == process), None)
    if life is not None and (life.in_flight or life.waiting):
        raise Conflict(f"'{model.name}' is answering somebody.", hint="try again in a moment")
    await house.pool.unload(process)
    freed = await asyncio.to_thread(house.store.remove, model.name)
    house.forget_found()
    return JsonResponse({"model": model.name, "freed_bytes": freed})


async def _scene(house: House, desk: Desk, *, is_admin: bool) -> _Scene:
    await house.pool.measure()
    lives = {one.name: one for one in house.pool.status()}
    hardware = await asyncio.to_thread(usable_hardware, house.settings)
    budget = room_bytes(
        hardware,
        held_bytes=sum(one.memory_bytes for one in lives.values()),
        memory_setting=house.settings.memory,
    )
    held_gpu_bytes = sum(one.gpu_bytes for one in lives.values())
    pulls = {one.model: one for one in reversed(desk.downloads.all())}
    return _Scene(hardware, as_if_left(hardware, held_gpu_bytes), budget, lives, pulls, is_admin)


def _rows(local: tuple[LocalModel, ...], scene: _Scene) -> Iterator[dict[str, Any]]:
    """What is here, what is on its way, and what the catalogue knows besides."""
    for model in local:
        yield _local(model, scene)
    here = {model.row.name for model in local if model.row}
    names = {model.name for model in local}
    shown = set()
    for pull in scene.pulls.values():
        if pull.state in ("queued", "downloading", "pausing", "paused"):
            row, precision = _row_of(pull.model)
            precision = precision or (default_precision(row) if row else None)
            name = f"{row.name}:{precision}" if row else pull.model
            if name not in names:
                shown.add(row.name if row else pull.model)
                yield _remote(row, precision, scene, name=name, pull=pull)
    for row in catalogue().values():
        if row.files and row.name not in here and row.name not in shown:
            yield _remote(row, None, scene)


def _found(house: House, name: str, local: tuple[LocalModel, ...], scene: _Scene) -> dict[str, Any]:
    try:
        located = house.store.locate(name)
    except ModelNotFound:
        row, precision = _row_of(name)
        if row is None:
            raise
        document = _remote(row, precision, scene)
    else:
        row, document = located.row, _local(located, scene)
    variants = list(_variants(row, local, scene)) if row else []
    return {"model": document, "variants": variants}


def _variants(row: Row, local: tuple[LocalModel, ...], scene: _Scene) -> Iterator[dict[str, Any]]:
    here = [model.precision or "" for model in local if model.row and model.row.name == row.name]
    ggufs = dict.fromkeys(files.precision for files in row.files if files.format == "gguf")
    for precision in ggufs:
        verdict = verdict_of_row(row, precision, scene.roomy, scene.budget_bytes)
        yield {
            "name": f"{row.name}:{precision}",
            "precision": precision,
            "size_bytes": row.estimated_bytes(precision),
            "fits": verdict.fits,
            "predicted": verdict.predicted,
            "is_here": any(same(one, precision) for one in here),
        }


def _local(model: LocalModel, scene: _Scene) -> dict[str, Any]:
    life = scene.lives.get(model.name)
    can_delete = model.hub is not None or model.source in ("made", "tuned")
    verdict = verdict_of_local(model, scene.roomy, scene.budget_bytes)
    return {
        **_head(model.row),
        "name": model.name,
        "title": model.row.title if model.row else model.name,
        **_state(life, scene),
        "precision": model.precision or verdict.precision,
        "size_bytes": model.num_bytes,
        "is_estimate": False,
        "source": model.source,
        **_fit(verdict),
        "measured_bytes": (life.memory_bytes or None) if life else None,
        "can_delete": can_delete,
        "frees_bytes": model.num_bytes if can_delete else 0,
        "pull_id": None,
    }


def _remote(
    row: Row | None,
    precision: str | None,
    scene: _Scene,
    *,
    name: str | None = None,
    pull: Pull | None = None,
) -> dict[str, Any]:
    """A model that is not here, at the precision asked for or the one that suits the machine."""
    verdict = Verdict(None)
    if row is not None:
        verdict = verdict_of_row(row, precision, scene.roomy, scene.budget_bytes)
        precision = precision or verdict.precision or default_precision(row)
    states = {"paused": "paused", None: "not_here"}
    return {
        **_head(row),
        "name": name or (f"{row.name}:{precision}" if row else ""),
        "title": row.title if row else name,
        "state": states.get(pull.state if pull else None, "downloading"),
        "why": "",
        "precision": precision,
        "size_bytes": row.estimated_bytes(precision or "") if row else (pull and pull.total_bytes),
        "is_estimate": True,
        "source": "",
        **_fit(verdict),
        "measured_bytes": None,
        "can_delete": False,
        "frees_bytes": 0,
        "pull_id": pull.id if pull else None,
    }


def _head(row: Row | None) -> dict[str, Any]:
    return {
        "family": row.family if row else None,
        "kind": row.kind if row else None,
        "precisions": list(row.precisions) if row else [],
        "num_parameters": row.num_parameters if row else None,
        "context_tokens": row.context_tokens if row else None,
        "licence": row.licence if row else None,
        "note": row.note if row else "",
    }


def _state(life: ModelStatus | None, scene: _Scene) -> dict[str, Any]:
    """The reasons may name errors and paths, so only an administrator sees them."""
    if life is None:
        return {"state": "on_disk", "why": ""}
    return {"state": _STATES[life.state], "why": life.why if scene.is_admin else ""}


def _fit(verdict: Verdict) -> dict[str, Any]:
    return {
        "fits": verdict.fits,
        "fit_why": list(verdict.why),
        "predicted": verdict.predicted,
        "needed_bytes": verdict.needed_bytes,
        "free_bytes": verdict.free_bytes,
    }


def _row_of(text: str) -> tuple[Row | None, str | None]:
    name = parse_name(text)
    if not isinstance(name, CatalogueName):
        return None, None
    try:
        row, precision = resolve(replace(name, revision=None))
    except ModelNotFound:
        return None, None
    return row, precision


def _machine(hardware: Hardware, free_disk_bytes: int) -> dict[str, Any]:
    return {
        "cpu": hardware.cpu_name,
        "num_cores": hardware.num_cores,
        "total_bytes": hardware.total_bytes,
        "free_bytes": hardware.free_bytes,
        "gpus": [
            {"name": one.name, "total_bytes": one.total_bytes, "free_bytes": one.free_bytes}
            for one in hardware.gpus
        ],
        "free_disk_bytes": free_disk_bytes,
    }
