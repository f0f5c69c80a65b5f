"""The route behind the page's run button: a block of Python, run in the sandbox."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.errors import Unsupported
from codehearth.gateway.body import read_request
from codehearth.gateway.house import house_of
from codehearth.gateway.replies import JsonResponse
from codehearth.gateway.streams import Generation, Writer
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.verified import RunRequest

router = APIRouter()

_TIME_S = 10.0
_MAX_BODY_BYTES = 1 << 20


@router.get("/hearth/run")
async def can_run(request: Request) -> Response:
    """Whether code can be run here, and if not, why."""
    try:
        protection = await house_of(request).sandboxed.protection()
    except Unsupported as error:
        return JsonResponse({"available": False, "reason": error.message, "hint": error.hint})
    return JsonResponse({"available": True, "sandbox": protection, "languages": ["python"]})


@router.post("/hearth/run")
async def run_block(request: Request) -> Response:
    """Runs code in the sandbox; what it prints comes as it is printed."""
    house = house_of(request)
    asked = await read_request(request, RunRequest, max_bytes=_MAX_BODY_BYTES)
    protection = await house.sandboxed.protection()

    async def work(writer: Writer) -> None:
        outcome = await house.sandboxed.run_python(
            asked.code, asked.stdin or "", time_s=asked.time_limit_s or _TIME_S
        )
        document = {
            "ending": outcome.ending,
            "exit_code": outcome.exit_code,
            "stdout": outcome.stdout,
            "stderr": outcome.stderr,
            "was_cut": outcome.was_cut,
            "duration_s": outcome.duration_s,
            "sandbox": protection,
        }
        await writer.whole(dump_json(document))

    return Generation(work, on_gone=house.metrics.cancelled.inc)
