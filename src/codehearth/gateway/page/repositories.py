"""The routes of repositories: which are indexed here, and what is found in one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from codehearth.gateway.body import read_query
from codehearth.gateway.house import house_of
from codehearth.gateway.replies import JsonResponse
from codehearth.repo.shelf import Repository
from codehearth.wire.requests import Shape

router = APIRouter()


class SearchQuery(Shape):
    q: Annotated[str, Field(min_length=1, max_length=4096)]
    limit: Annotated[int, Field(ge=1, le=40)] = 10


@router.get("/hearth/repositories")
async def list_repositories(request: Request) -> Response:
    """The repositories that are indexed here."""
    found = await house_of(request).repositories.all()
    return JsonResponse({"repositories": [_document(one) for one in found]})


@router.get("/hearth/repositories/{name}/search")
async def search_repository(request: Request, name: str) -> Response:
    """The pieces of a repository that a question would be shown."""
    asked = read_query(request, SearchQuery)
    found = await house_of(request).repositories.search(name, asked.q)
    return JsonResponse({"results": [one.as_document() for one in found[: asked.limit]]})


def _document(one: Repository) -> dict[str, Any]:
    """Without the folder's whole path: who asks may be on another machine."""
    return {
        "name": one.name,
        "num_files": one.facts.num_files,
        "num_chunks": one.facts.num_chunks,
        "indexed_at": one.facts.indexed_at,
    }
