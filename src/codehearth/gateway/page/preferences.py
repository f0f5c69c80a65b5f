"""The routes of what a user prefers: language, theme, how answers are made, and prompts."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import Field, field_validator
from starlette.responses import Response

from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import read_request
from codehearth.gateway.page.desk import desk_of
from codehearth.gateway.replies import JsonResponse
from codehearth.wire.conversations import Parameters, SystemPrompt, Turns
from codehearth.wire.requests import ModelId, RepositoryName, Shape

router = APIRouter()

_MAX_BYTES = 256 * 2**10


class SavedPrompt(Shape):
    """One entry of the library: `/name` writes the text."""

    name: Annotated[str, Field(pattern=r"^[\w-]{1,40}$")]
    text: Annotated[str, Field(min_length=1, max_length=2**16)]


class PreferencesDocument(Shape):
    language: Literal["en", "zh-CN"] | None = None
    theme: Literal["light", "dark", "system"] = "system"
    model: ModelId | None = None
    repository: RepositoryName | None = None
    system_prompt: SystemPrompt = ""
    parameters: Parameters = Field(default_factory=Parameters)
    max_turns: Turns | None = None
    prompts: Annotated[list[SavedPrompt], Field(max_length=200)] = Field(default_factory=list)

    @field_validator("prompts")
    @classmethod
    def _each_once(cls, prompts: list[SavedPrompt]) -> list[SavedPrompt]:
        if len({prompt.name for prompt in prompts}) < len(prompts):
            raise ValueError("two prompts have one name")
        return prompts


@router.get("/hearth/preferences")
async def show(request: Request) -> Response:
    """The caller's preferences on the page."""
    archive = desk_of(request).archive
    kept = await archive.do(archive.preferences.get, caller_of(request).user)
    return JsonResponse(_document(PreferencesDocument.model_construct()) | kept)


@router.put("/hearth/preferences")
async def put(request: Request) -> Response:
    """Replaces the caller's preferences."""
    archive = desk_of(request).archive
    asked = await read_request(request, PreferencesDocument, max_bytes=_MAX_BYTES)
    document = _document(asked)
    await archive.do(archive.preferences.put, caller_of(request).user, document)
    return JsonResponse(document)


def _document(preferences: PreferencesDocument) -> dict[str, object]:
    return preferences.model_dump() | {"parameters": preferences.parameters.given()}
