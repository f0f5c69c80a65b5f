"""OpenAI's routes but completions: models, chat and embeddings."""

from __future__ import annotations

import base64
import struct
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.errors import Unsupported, UpstreamFailed
from codehearth.gateway.answering import openai_answer
from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import read_request
from codehearth.gateway.chatting import shown_to
from codehearth.gateway.engine.chunks import ChatFormat
from codehearth.gateway.engine.generate import Choice
from codehearth.gateway.engine.link import engine_json
from codehearth.gateway.engine.upstream import CHAT_PATH, check_chat
from codehearth.gateway.house import house_of
from codehearth.gateway.replies import JsonResponse
from codehearth.gateway.streams import Generation, Writer
from codehearth.models.store import LocalModel
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.requests import ChatRequest, EmbeddingRequest

router = APIRouter()


@router.get("/v1/models")
async def list_models(request: Request) -> Response:
    """The models that requests may name, as OpenAI lists them."""
    models = await house_of(request).models()
    return JsonResponse({"object": "list", "data": [_model_card(model) for model in models]})


@router.get("/v1/models/{name:path}")
async def retrieve_model(request: Request, name: str) -> Response:
    """One model, as OpenAI describes it."""
    model = await house_of(request).find(name)
    return JsonResponse(_model_card(model))


@router.post("/v1/chat/completions")
async def chat(request: Request) -> Response:
    """OpenAI's chat: tools, JSON schemas and grammars included, streamed or whole."""
    house, asked = house_of(request), await read_request(request, ChatRequest)
    check_chat(asked)
    model = await house.name_of(asked.model)
    shown = await shown_to(house, asked)
    choices = [
        Choice(0, CHAT_PATH, partial(shown.body, choice=number))
        for number in range(asked.num_choices)
    ]
    shape = ChatFormat(model=model, num_top=asked.top_logprobs or 0)
    return openai_answer(request, asked, model, choices, shape, headers=shown.headers)


@router.post("/v1/embeddings")
async def embed(request: Request) -> Response:
    """Vectors of texts, from a model that makes them."""
    house, asked = house_of(request), await read_request(request, EmbeddingRequest)
    model = await house.name_of(asked.model)
    owner, keep_alive_s = caller_of(request).owner, house.keep_alive_s(asked.keep_alive)

    async def work(writer: Writer) -> None:
        async with house.lease(model, owner=owner, keep_alive_s=keep_alive_s) as lease:
            if not lease.model.weights.is_embedding_model:
                raise Unsupported("This model does not make embeddings.", param="model")
            body = dump_json({"input": asked.input, "encoding_format": "float"})
            answer = await engine_json(lease.endpoint, "/v1/embeddings", body)
        await writer.whole(dump_json(_embeddings(answer, asked, model)))

    return Generation(work, on_gone=house.metrics.cancelled.inc)


def _embeddings(answer: Any, asked: EmbeddingRequest, model: str) -> dict[str, Any]:
    try:
        vectors = [item["embedding"] for item in answer["data"]]
        usage = answer.get("usage", {})
    except (KeyError, TypeError, AttributeError) as error:
        raise UpstreamFailed("The engine's embeddings are not in OpenAI's shape.") from error
    return {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(vector, asked)}
            for index, vector in enumerate(vectors)
        ],
        "usage": {
            "prompt_tokens": usage.get("prompt_tokens", 0),
            "total_tokens": usage.get("total_tokens", usage.get("prompt_tokens", 0)),
        },
    }


def _vector(vector: list[float], asked: EmbeddingRequest) -> list[float] | str:
    """As asked: shortened to length 1 again, as floats or as base64 of little-endian float32."""
    if asked.dimensions is not None and asked.dimensions < len(vector):
        vector = vector[: asked.dimensions]
        length = sum(x * x for x in vector) ** 0.5 or 1.0
        vector = [x / length for x in vector]
    if asked.encoding_format != "base64":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _model_card(model: LocalModel) -> dict[str, Any]:
    row = model.row
    return {
        "id": model.name,
        "object": "model",
        "created": model.created_at,
        "owned_by": row.family if row else "local",
        "context_window": row.context_tokens if row else None,
        "precision": model.precision,
        "size_bytes": model.num_bytes,
    }
