"""The bodies of requests in `/openapi.json`: routes read them by hand, so they are told here."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from codehearth.gateway.admin import LoadRequest, UnloadRequest
from codehearth.gateway.page.login import LoginRequest
from codehearth.gateway.page.preferences import PreferencesDocument
from codehearth.gateway.page.pulls import PullRequest
from codehearth.gateway.page.votes import Vote
from codehearth.wire.anthropic import MessagesRequest
from codehearth.wire.conversations import (
    AnswerRequest,
    AppendRequest,
    BranchRequest,
    ConversationFields,
    ExportedDocument,
)
from codehearth.wire.llama_cpp import InfillRequest, LlamaCompletionRequest
from codehearth.wire.mistral import FimRequest
from codehearth.wire.ollama import EmbedRequest, GenerateRequest, OllamaChatRequest, ShowRequest
from codehearth.wire.requests import ChatRequest, CompletionRequest, EmbeddingRequest, Shape
from codehearth.wire.responses import ResponsesRequest
from codehearth.wire.tabby import SuggestionEvent
from codehearth.wire.tuning import TuneRequest
from codehearth.wire.verified import RunRequest, VerifiedRequest

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
    "/v1/verified": VerifiedRequest,
    "/v1/messages": MessagesRequest,
    "/v1/messages/count_tokens": MessagesRequest,
    "/v1/responses": ResponsesRequest,
    "/hearth/load": LoadRequest,
    "/hearth/unload": UnloadRequest,
    "/hearth/login": LoginRequest,
    "/hearth/conversations": ConversationFields,
    "/hearth/conversations/import": ExportedDocument,
    "/hearth/conversations/{conversation_id}/branch": BranchRequest,
    "/hearth/conversations/{conversation_id}/messages": AppendRequest,
    "/hearth/conversations/{conversation_id}/answers": AnswerRequest,
    "/hearth/pulls": PullRequest,
    "/hearth/tunings": TuneRequest,
    "/hearth/votes": Vote,
    "/hearth/run": RunRequest,
}
_OTHER_BODIES: dict[tuple[str, str], type[Shape]] = {
    ("patch", "/hearth/conversations/{conversation_id}"): ConversationFields,
    ("put", "/hearth/preferences"): PreferencesDocument,
}

_STREAMED = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/messages",
    "/v1/responses",
    "/hearth/conversations/{conversation_id}/answers",
)


def describe_bodies(app: FastAPI) -> None:
    """Makes the application's OpenAPI document hold the shapes of its requests."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    bodies = {("post", path): shape for path, shape in _BODIES.items()} | _OTHER_BODIES
    shapes = sorted(set(bodies.values()), key=lambda shape: shape.__name__)
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
    for (method, path), shape in bodies.items():
        schema = references[(shape, "validation")]
        document["paths"][path][method]["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return document
