"""The routes of trainings. Anybody may see them; who administers may start and stop them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.engines.environments import Environments
from codehearth.engines.installed import Installed
from codehearth.errors import InvalidRequest
from codehearth.gateway.auth import require_admin
from codehearth.gateway.body import read_request
from codehearth.gateway.choosing import environments_of
from codehearth.gateway.house import house_of
from codehearth.gateway.page.desk import desk_of
from codehearth.gateway.page.trainings import Trainings
from codehearth.gateway.replies import JsonResponse
from codehearth.lab.tuning.jobs import Job, Seen
from codehearth.lab.tuning.ordering import Order
from codehearth.lab.tuning.trainer import INSTALL
from codehearth.models.tuned import Tuned
from codehearth.wire.tuning import MAX_ROWS_BYTES, TuneRequest

router = APIRouter()

MAX_LISTED = 200
_MAX_RESULT_BYTES = 8 * 2**20


@router.get("/hearth/tunings")
async def list_tunings(request: Request) -> Response:
    """The jobs of fine-tuning, the newest first."""
    house, trainings = house_of(request), desk_of(request).trainings
    jobs = await asyncio.to_thread(trainings.jobs.all)
    state = Environments(environments_of(house.settings)).state("tuning")
    is_installed = isinstance(state, Installed)
    return JsonResponse(
        {
            "tunings": [_listed(job, trainings) for job in jobs[:MAX_LISTED]],
            "is_installed": is_installed,
            "hint": None if is_installed else INSTALL.strip("`"),
        }
    )


@router.post("/hearth/tunings")
async def start(request: Request) -> Response:
    """Begins a training; it goes on without the page."""
    require_admin(request)
    asked = await read_request(request, TuneRequest, max_bytes=MAX_ROWS_BYTES)
    trainings = desk_of(request).trainings
    data, repo = _place(asked.path), _place(asked.repo)
    if data is not None and await asyncio.to_thread(data.is_dir):
        data, repo = None, data
    if asked.file is not None:
        data = await asyncio.to_thread(trainings.keep_rows, asked.file.name, asked.file.content)
    order = Order(
        model=asked.model,
        data=data,
        repo=repo,
        name=asked.name,
        system=asked.system or None,
        expect=asked.expect or None,
        held_share=asked.held_share,
        quantise=asked.quantise,
        seed=asked.seed,
        evaluate=asked.evaluate,
        numbers=asked.numbers.model_dump(exclude_none=True),
    )
    if asked.dry_run:
        return JsonResponse({"plan": await asyncio.to_thread(trainings.plan, order)})
    plan = await trainings.start(order)
    return JsonResponse({"id": plan["job"], "plan": plan}, status_code=201)


@router.get("/hearth/tunings/{tuning_id}")
async def show(request: Request, tuning_id: str) -> Response:
    """One job: how far it is, its losses, and its result."""
    trainings = desk_of(request).trainings
    job = await asyncio.to_thread(trainings.jobs.get, tuning_id)
    tuned = house_of(request).store.tuned
    return JsonResponse(await asyncio.to_thread(_shown, job, trainings, tuned))


@router.post("/hearth/tunings/{tuning_id}/stop")
async def stop(request: Request, tuning_id: str) -> Response:
    """Stops a training; what it has learnt so far is kept, and it can go on."""
    require_admin(request)
    await desk_of(request).trainings.stop(tuning_id)
    return JsonResponse({"id": tuning_id}, status_code=202)


@router.post("/hearth/tunings/{tuning_id}/resume")
async def resume(request: Request, tuning_id: str) -> Response:
    """Lets a stopped training go on where it was."""
    require_admin(request)
    plan = await desk_of(request).trainings.resume(tuning_id)
    return JsonResponse({"id": plan["job"], "plan": plan}, status_code=202)


@router.delete("/hearth/tunings/{tuning_id}")
async def forget(request: Request, tuning_id: str) -> Response:
    """The job and what it has learnt so far; a model that came of it stays."""
    require_admin(request)
    job = await asyncio.to_thread(desk_of(request).trainings.jobs.get, tuning_id)
    await asyncio.to_thread(_forget, job)
    return JsonResponse({"deleted": 1})


def _place(text: str | None) -> Path | None:
    """A path on this machine, which an administrator may name; raises InvalidRequest."""
    if text is None:
        return None
    place = Path(text).expanduser()
    if not place.is_absolute():
        raise InvalidRequest("A path must begin at the root.", param="path")
    return place


def _forget(job: Job) -> None:
    with job.alone():
        job.remove()


def _listed(job: Seen, trainings: Trainings) -> dict[str, Any]:
    asked = job.asked
    is_ours = trainings.is_under_way(job.id)
    return {
        "id": job.id,
        "phase": job.state.phase if is_ours else job.phase,
        "is_running": job.is_running or is_ours,
        "name": asked.get("name"),
        "base": asked.get("base"),
        "data": asked.get("data"),
        "num_rows": asked.get("num_rows"),
        "updated_at": job.state.updated_at,
        "problem": job.state.problem or None,
        "hint": job.state.hint or None,
        "model": job.state.model or None,
        "version": job.state.version or None,
    }


def _shown(job: Job, trainings: Trainings, tuned: Tuned) -> dict[str, Any]:
    seen = job.seen()
    assert seen is not None
    found = _listed(seen, trainings) | {"asked": dict(seen.asked), "events": list(job.events())}
    found["can_resume"] = (job.folder / "order.json").is_file()
    found["result"] = _result(seen, tuned)
    return found


def _result(seen: Seen, tuned: Tuned) -> Any:
    """The result of the version that came of the job, as long as that is here."""
    for model in tuned.versions(seen.state.model):
        if model.version == seen.state.version:
            path = tuned.path_of(model) / "result.json"
            try:
                if path.stat().st_size <= _MAX_RESULT_BYTES:
                    return json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                return None
    return None
