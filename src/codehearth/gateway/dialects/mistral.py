"""Mistral's `POST /v1/fim/completions`, whose answers look like chat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.errors import HearthError
from codehearth.gateway.answering import OpenAIDialect, Usage, total_usage
from codehearth.gateway.body import read_request
from codehearth.gateway.engine.chunks import ChatFormat, Piece
from codehearth.gateway.house import house_of
from codehearth.gateway.infilling import fim
from codehearth.gateway.infilling.clients import client_of
from codehearth.gateway.infilling.infill import Infill
from codehearth.gateway.replies import mistral_error_body
from codehearth.text.fim import Fim, take_apart
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.mistral import FimRequest
from codehearth.wire.requests import CompletionRequest
from codehearth.wire.sse import DONE, frame

router = APIRouter()


@router.post("/v1/fim/completions")
async def complete_fim(request: Request) -> Response:
    """Mistral's infilling: what belongs between `prompt` and `suffix`."""
    house, asked = house_of(request), await read_request(request, FimRequest)
    templated = None if asked.suffix else take_apart(asked.prompt)
    infill = Infill(
        model=await house.name_of(asked.model),
        fim=templated or Fim(asked.prompt, asked.suffix or ""),
        asked=CompletionRequest(
            max_tokens=asked.max_tokens,
            temperature=asked.temperature,
            top_p=asked.top_p,
            seed=asked.random_seed,
            stop=asked.stop,
            stream=asked.stream,
        ),
        client=client_of(request, user=asked.user),
        needs_suffix=bool(asked.suffix),
        is_warm_up=asked.max_tokens == 0,
        keep_alive_s=house.keep_alive_s(asked.keep_alive),
    )
    dialect = MistralDialect(infill.model)
    return fim.infilled(house, infill, dialect, suggestion_id=dialect.id)


@dataclass
class MistralDialect:
    """Chat's shapes; the last chunk always has the usage."""

    model: str
    content_type: str = OpenAIDialect.content_type
    _format: ChatFormat = field(init=False)

    def __post_init__(self) -> None:
        self._format = ChatFormat(model=self.model, id="cmpl-" + ChatFormat(self.model).id[9:])

    @property
    def id(self) -> str:
        return self._format.id

    def opening(self, index: int) -> bytes:
        return frame(dump_json(self._format.opening(index)))

    def piece(self, index: int, piece: Piece) -> bytes:
        chunk = self._format.chunk(index, _as_chat(piece))
        if piece.finish_reason:
            chunk["usage"] = total_usage([piece.usage or {}])
        return frame(dump_json(chunk))

    def closing(self, usages: Sequence[Usage]) -> bytes:
        return DONE

    def whole(self, choices: Sequence[Sequence[Piece]], usages: Sequence[Usage]) -> Any:
        chats = [[_as_chat(piece) for piece in pieces] for pieces in choices]
        return self._format.whole(chats, total_usage(usages))

    def error(self, error: HearthError) -> bytes:
        return frame(dump_json(mistral_error_body(error)))


def _as_chat(piece: Piece) -> Piece:
    """Mistral's delta always has a content."""
    return replace(piece, delta={"content": piece.delta.get("text") or ""})
