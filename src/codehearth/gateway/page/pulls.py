"""The routes of downloads. Anybody may see them; who administers may start and stop them."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.gateway.auth import require_admin
from codehearth.gateway.body import read_request
from codehearth.gateway.page.desk import desk_of
from codehearth.gateway.page.pull import Pull
from codehearth.gateway.replies import JsonResponse
from codehearth.wire.requests import ModelId, Shape

router = APIRouter()


class PullRequest(Shape):
    model: ModelId


@router.post("/hearth/pulls")
async def start(request: Request) -> Response:
    """Begins to fetch a model from a hub; it goes on without the page."""
    require_admin(request)
    asked = await read_request(request, PullRequest)
    pull, is_new = await desk_of(request).downloads.start(asked.model)
    return _reply(pull, status=201 if is_new else 200)


@router.get("/hearth/pulls")
async def list_pulls(request: Request) -> Response:
    """The downloads of this server, with their progress."""
    pulls = desk_of(request).downloads.all()
    return JsonResponse({"pulls": [asdict(pull) for pull in pulls]})


@router.get("/hearth/pulls/{pull_id}")
async def show(request: Request, pull_id: str) -> Response:
    """One download."""
    return _reply(desk_of(request).downloads.get(pull_id))


@router.post("/hearth/pulls/{pull_id}/pause")
async def pause(request: Request, pull_id: str) -> Response:
    """Pauses a download; what has arrived is kept."""
    require_admin(request)
    return _reply(await desk_of(request).downloads.pause(pull_id))


@router.post("/hearth/pulls/{pull_id}/resume")
async def resume(request: Request, pull_id: str) -> Response:
    """Lets a paused or failed download go on where it was."""
    require_admin(request)
    return _reply(await desk_of(request).downloads.resume(pull_id))


@router.post("/hearth/pulls/{pull_id}/cancel")
async def cancel(request: Request, pull_id: str) -> Response:
    """Ends a download and deletes the halves of files; what is whole stays."""
    require_admin(request)
    return _reply(await desk_of(request).downloads.cancel(pull_id))


@router.delete("/hearth/pulls/{pull_id}")
async def forget(request: Request, pull_id: str) -> Response:
    """Takes a download that is over from the list."""
    require_admin(request)
    await desk_of(request).downloads.forget(pull_id)
    return JsonResponse({"deleted": 1})


def _reply(pull: Pull, *, status: int = 200) -> Response:
    return JsonResponse(asdict(pull), status_code=status)
