"""The routes of votes: which of two answers to one prompt was better."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Request
from pydantic import Field, model_validator
from starlette.responses import Response

from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import read_query, read_request
from codehearth.gateway.page.desk import desk_of
from codehearth.gateway.replies import JsonResponse
from codehearth.wire.conversations import Figure
from codehearth.wire.requests import ModelId, Shape

router = APIRouter()


class Side(Shape):
    """One of the two answers: its model (with precision) and how fast it was."""

    model: ModelId
    tokens_per_s: Figure | None = None
    first_token_s: Figure | None = None
    completion_tokens: Figure | None = None


class Vote(Shape):
    prompt: Annotated[str, Field(max_length=2**16)] | None = None
    prompt_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    first: Side
    second: Side
    winner: Literal["first", "second", "tie", "neither"]

    @model_validator(mode="after")
    def _has_prompt(self) -> Self:
        if self.prompt is None and self.prompt_sha256 is None:
            raise ValueError("a vote needs 'prompt' or 'prompt_sha256'")
        return self


class VotesQuery(Shape):
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


@router.post("/hearth/votes")
async def vote(request: Request) -> Response:
    """Keeps which of two answers was better."""
    archive, asked = desk_of(request).archive, await read_request(request, Vote)
    kept = await archive.do(
        archive.votes.add, caller_of(request).user, asked.model_dump(exclude_none=True)
    )
    return JsonResponse(kept, status_code=201)


@router.get("/hearth/votes")
async def list_votes(request: Request) -> Response:
    """The caller's votes between two answers, the newest first."""
    archive, asked = desk_of(request).archive, read_query(request, VotesQuery)
    votes = await archive.do(archive.votes.all, caller_of(request).user, limit=asked.limit)
    return JsonResponse({"votes": votes})


@router.get("/hearth/votes/export")
async def export_votes(request: Request) -> Response:
    """The caller's votes, as one document."""
    archive = desk_of(request).archive
    votes = await archive.do(archive.votes.all, caller_of(request).user)
    return JsonResponse(
        {"format": "codehearth.votes", "version": 1, "votes": votes},
        headers={"content-disposition": 'attachment; filename="codehearth-votes.json"'},
    )
