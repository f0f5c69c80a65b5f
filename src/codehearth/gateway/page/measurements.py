"""The routes of the lab's results: JSON files in one folder, listed and read.

A name from a request is only ever compared with the names in the folder, so it cannot lead out of
it; links are not followed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import stat
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.errors import InvalidRequest, NotFound
from codehearth.gateway.house import house_of
from codehearth.gateway.replies import JsonResponse
from codehearth.wire.bounded_json import parse_json

log = logging.getLogger(__name__)
router = APIRouter()

FOLDER = "lab"
MAX_RESULTS = 1000
MAX_RESULT_BYTES = 8 * 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}\.json")


@router.get("/hearth/lab")
async def list_results(request: Request) -> Response:
    """The results of `hearth measure` on this machine, the newest first."""
    folder = house_of(request).settings.data / FOLDER
    found = await asyncio.to_thread(_results, folder)
    return JsonResponse({"results": found[:MAX_RESULTS]})


@router.get("/hearth/lab/{name}")
async def show_result(request: Request, name: str) -> Response:
    """One result of `hearth measure`, with all its figures."""
    folder = house_of(request).settings.data / FOLDER
    return JsonResponse(await asyncio.to_thread(_read, folder, name))


def _results(folder: Path) -> list[dict[str, Any]]:
    """The newest first; nothing where the folder is not there or cannot be read."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    facts = entry.stat(follow_symlinks=False)
                    found.append(
                        {
                            "name": entry.name,
                            "size_bytes": facts.st_size,
                            "modified_at": facts.st_mtime,
                        }
                    )
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("the results of the lab cannot be listed: %s", error.strerror)
    return sorted(found, key=lambda one: (-one["modified_at"], one["name"]))


def _read(folder: Path, name: str) -> Any:
    """The result of that name; raises NotFound, and InvalidRequest for one that is no result."""
    missing = NotFound("There is no such result.")
    known = next((one["name"] for one in _results(folder) if one["name"] == name), None)
    if known is None:
        raise missing
    try:
        descriptor = os.open(folder / known, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise missing from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise missing
        data = file.read(MAX_RESULT_BYTES + 1)
    if len(data) > MAX_RESULT_BYTES:
        raise InvalidRequest(f"This result is larger than {MAX_RESULT_BYTES // 2**20} MiB.")
    try:
        return parse_json(data)
    except InvalidRequest as error:
        raise InvalidRequest("This file holds no result: it is not valid JSON.") from error
