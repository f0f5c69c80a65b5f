"""What Tabby's clients ask beside completions, and what became of a suggestion.

`POST /v1/events` is Tabby's; `POST /v1/completions/{id}/{fate}` is ours, for any editor: one
request without a body, where `fate` is `shown`, `accepted` or `dismissed`.
"""

from __future__ import annotations

import os
import platform
from typing import get_args

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth import __version__
from codehearth.errors import InvalidRequest, NotFound
from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import read_request
from codehearth.gateway.house import house_of
from codehearth.gateway.infilling.acceptance import Fate
from codehearth.gateway.replies import JsonResponse
from codehearth.wire.tabby import SuggestionEvent

router = APIRouter()

_FATES: dict[str, Fate] = {"view": "shown", "select": "accepted", "dismiss": "dismissed"}


@router.get("/v1/health")
@router.post("/v1/health")
async def health(request: Request) -> Response:
    """Tabby's clients ask this first; older ones by POST."""
    house = house_of(request)
    return JsonResponse(
        {
            "model": house.settings.model,
            "chat_model": house.settings.model,
            "device": "cpu",
            "arch": platform.machine(),
            "cpu_info": platform.processor() or platform.machine(),
            "cpu_count": os.cpu_count() or 1,
            "cuda_devices": [],
            "version": {
                "build_date": "",
                "build_timestamp": "",
                "git_sha": "",
                "git_describe": f"v{__version__}",
            },
        }
    )


@router.get("/v1beta/server_setting")
async def server_setting() -> Response:
    """No editor shall tell anybody outside what is typed here."""
    return JsonResponse({"disable_client_side_telemetry": True})


@router.post("/v1/events")
async def event(request: Request) -> Response:
    """Counts what became of a suggestion. One that is not known any more is no error: the editor
    cannot do anything about it."""
    asked = await read_request(request, SuggestionEvent)
    fate = _FATES.get(asked.type)
    if fate is None:
        raise InvalidRequest(
            f"'type' is '{asked.type}', but must be view, select or dismiss.", param="type"
        )
    house_of(request).acceptance.count(asked.completion_id, fate, owner=caller_of(request).owner)
    return JsonResponse({})


@router.post("/v1/completions/{suggestion_id}/{fate}")
async def tell_fate(request: Request, suggestion_id: str, fate: str) -> Response:
    """Counts what became of the suggestion of an answer's `id`."""
    known = next((each for each in get_args(Fate) if each == fate), None)
    owner = caller_of(request).owner
    if known is None or not house_of(request).acceptance.count(suggestion_id, known, owner=owner):
        raise NotFound(
            "There is no suggestion of this id, or no such fate.",
            hint="the fates are shown, accepted and dismissed; ids are kept for a while only",
        )
    return JsonResponse({"id": suggestion_id, "fate": known})
