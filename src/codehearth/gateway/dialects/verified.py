"""`POST /v1/verified`: code that passes the caller's tests, with the evidence. Ours alone."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import read_request
from codehearth.gateway.house import house_of
from codehearth.gateway.streams import Generation, Writer
from codehearth.gateway.verifying import Search
from codehearth.lab.verifying import check_tests
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.verified import VerifiedRequest

router = APIRouter()

_MAX_BODY_BYTES = 1 << 20


@router.post("/v1/verified")
async def verified(request: Request) -> Response:
    """200 also where no candidate passed: `verified` says so, and each attempt why."""
    house = house_of(request)
    asked = await read_request(request, VerifiedRequest, max_bytes=_MAX_BODY_BYTES)
    check_tests(asked.tests)
    model = await house.name_of(asked.model)
    await house.sandboxed.protection()
    search = Search(house, asked, model, caller_of(request).owner)

    async def work(writer: Writer) -> None:
        await writer.whole(dump_json(await search.run()))

    return Generation(work, on_gone=house.metrics.cancelled.inc)
