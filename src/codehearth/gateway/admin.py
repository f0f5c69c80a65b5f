"""What operators and machines ask: health, metrics, and the models that live now."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from codehearth import __version__
from codehearth.gateway.auth import caller_of, require_admin
from codehearth.gateway.body import read_request
from codehearth.gateway.house import house_of
from codehearth.gateway.replies import JsonResponse
from codehearth.gateway.streams import Generation, Writer
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.requests import KeepAlive, ModelId, Shape

router = APIRouter()


class LoadRequest(Shape):
    model: ModelId
    keep_alive: KeepAlive | None = None


class UnloadRequest(Shape):
    model: ModelId


@router.get("/health", include_in_schema=False)
async def health() -> Response:
    """The server lives."""
    return JsonResponse({"status": "ok"})


@router.get("/ready", include_in_schema=False)
async def ready(request: Request) -> Response:
    """The server takes requests; 503 while it is leaving."""
    if request.app.state.leaving.is_draining:
        return JsonResponse({"status": "leaving"}, status_code=503, headers={"retry-after": "5"})
    return JsonResponse({"status": "ok"})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """What the server counts, for Prometheus."""
    text = generate_latest(house_of(request).metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


@router.get("/hearth/version")
async def version(request: Request) -> Response:
    """Which release this is, so that programs know whom they speak to."""
    return JsonResponse({"version": __version__, "default_model": house_of(request).settings.model})


@router.get("/hearth/ps")
async def ps(request: Request) -> Response:
    """The models in memory, loading or waited for, as `hearth ps` shows them.

    The reasons may name paths and errors, so only an administrator sees them.
    """
    house = house_of(request)
    await house.pool.measure()
    rows: list[dict[str, Any]] = [
        asdict(status) | {"suggestions": house.acceptance.of_model(status.name)}
        for status in house.pool.status()
    ]
    if not caller_of(request).is_admin:
        rows = [row | {"why": ""} for row in rows]
    return JsonResponse({"models": rows})


@router.post("/hearth/load")
async def load(request: Request) -> Response:
    """Loads a model and answers when it serves."""
    require_admin(request)
    house, asked = house_of(request), await read_request(request, LoadRequest)
    model = await house.name_of(asked.model)
    keep_alive_s = house.keep_alive_s(asked.keep_alive)

    async def work(writer: Writer) -> None:
        await house.pool.load(await house.process_of(model), keep_alive_s=keep_alive_s)
        await writer.whole(dump_json({"model": model, "state": "ready"}))

    return Generation(work, on_gone=lambda: None)


@router.post("/hearth/unload")
async def unload(request: Request) -> Response:
    """Sends a model away when its requests are answered."""
    require_admin(request)
    house, asked = house_of(request), await read_request(request, UnloadRequest)
    process = await house.process_of(asked.model)
    was_loaded = await house.pool.unload(process)
    return JsonResponse({"model": process, "was_loaded": was_loaded})
