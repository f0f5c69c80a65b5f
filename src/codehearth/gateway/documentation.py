"""The bodies of requests in `/openapi.json`: routes read them by hand, so they are told here."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from codehearth.gateway.admin import LoadRequest, UnloadRequest
from codehearth.gateway.passthrough import MessagesRequest, ResponsesRequest
from codehearth.wire.llama_cpp import InfillRequest, LlamaCompletionRequest
from codehearth.wire.mistral import FimRequest
from codehearth.wire.ollama import EmbedRequest, GenerateRequest, OllamaChatRequest, ShowRequest
from codehearth.wire.requests import ChatRequest, CompletionRequest, EmbeddingRequest, Shape
from codehearth.wire.tabby import SuggestionEvent

_BODIES: dict[str, type[Shape]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/beta/completions": CompletionRequest,
    "/v1/fim/completions": FimRequest,
    "/v1/events": SuggestionEvent,
    "/infill": InfillRequest,
    "/completion": LlamaCompletionRequest,
    "/completions": LlamaCompletionRequest,
    "/api/generate": GenerateRequest,
    "/api/chat": OllamaChatRequest,
    "/api/show": ShowRequest,
    "/api/embed": EmbedRequest,
    "/v1/embeddings": EmbeddingRequest,
    "/v1/messages": MessagesRequest,
    "/v1/messages/count_tokens": MessagesRequest,
    "/v1/responses": ResponsesRequest,
    "/hearth/load": LoadRequest,
    "/hearth/unload": UnloadRequest,
}

_STREAMED = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses")


def describe_bodies(app: FastAPI) -> None:
    """Makes the application's OpenAPI document hold the shapes of its requests."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    shapes = sorted(set(_BODIES.values()), key=lambda shape: shape.__name__)
    references, definitions = models_json_schema(
        [(shape, "validation") for shape in shapes], ref_template="#/components/schemas/{model}"
    )
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components.update(definitions["$defs"])
    for path in _STREAMED:
        answer = document["paths"][path]["post"]["responses"]["200"]
        answer["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    for method in ("post", "put"):
        answer = document["paths"]["/"][method]["responses"]["200"]
        answer["content"]["text/plain"] = {"schema": {"type": "string"}}
    for path, shape in _BODIES.items():
        schema = references[(shape, "validation")]
        document["paths"][path]["post"]["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return document
