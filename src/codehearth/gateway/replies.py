"""Errors as clients read them: OpenAI's envelope, or that of the dialect whose route it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from codehearth.errors import EngineFailed, HearthError, InvalidRequest
from codehearth.wire.bounded_json import dump_json

_ABSOLUTE_PATH = re.compile(r"(?<![\w/:])(?:/[\w.@+~ -]+){2,}|\b[A-Za-z]:\\[^\s'\"]+")
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class JsonResponse(Response):
    """Compact UTF-8 JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return dump_json(content)


def error_body(error: HearthError) -> dict[str, Any]:
    """OpenAI's error envelope. Paths are left out: an engine's last words may name some."""
    message = f"{error.message} Hint: {_sentence(error.hint)}" if error.hint else error.message
    details = {
        "message": _without_paths(message.replace("..", ".")),
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    return {"error": details | _numbers(error)}


def anthropic_error_body(error: HearthError) -> dict[str, Any]:
    kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": error_body(error)["error"]["message"]},
    }


def ollama_error_body(error: HearthError) -> dict[str, Any]:
    return {"error": error_body(error)["error"]["message"]}


def mistral_error_body(error: HearthError) -> dict[str, Any]:
    return {"object": "error", **error_body(error)["error"]}


def llama_cpp_error_body(error: HearthError) -> dict[str, Any]:
    """llama.cpp's `code` is the status, a number."""
    return {"error": error_body(error)["error"] | {"code": error.status}}


_BODIES: Mapping[str, Callable[[HearthError], dict[str, Any]]] = {
    "/v1/messages": anthropic_error_body,
    "/v1/fim": mistral_error_body,
    "/api": ollama_error_body,
    "/infill": llama_cpp_error_body,
    "/completion": llama_cpp_error_body,
    "/props": llama_cpp_error_body,
}


def error_body_at(path: str, error: HearthError) -> dict[str, Any]:
    """The error as the clients of a path read it."""
    for beginning, body in _BODIES.items():
        if path == beginning or path.startswith(f"{beginning}/"):
            return body(error)
    return error_body(error)


def error_reply(error: HearthError, *, path: str = "") -> JsonResponse:
    body = error_body_at(path, error)
    return JsonResponse(body, status_code=error.status, headers=dict(error_headers(error)))


def error_headers(error: HearthError) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, error.retry_after_s))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.status in (400, 404, 405, 413, 415) and isinstance(error, InvalidRequest):
        headers["x-should-retry"] = "false"
    return headers


def unexpected() -> HearthError:
    """What a client is told of a mistake of ours; the traceback is in the log."""
    return HearthError(
        "The server made a mistake.", hint="`hearth logs` has the details under the request's id"
    )


def _sentence(hint: str) -> str:
    return hint if hint.endswith((".", "?", "!")) else f"{hint}."


def _numbers(error: HearthError) -> dict[str, int]:
    """The numbers that a program may want to read without parsing the message."""
    names = ("num_prompt_tokens", "num_context_tokens", "needed_bytes", "free_bytes")
    return {name: getattr(error, name) for name in names if hasattr(error, name)}


def _without_paths(message: str) -> str:
    return _ABSOLUTE_PATH.sub("…", message)


def describe(error: BaseException) -> str:
    """One line for the log, with an engine's last words where there are any."""
    if isinstance(error, EngineFailed) and error.log_tail:
        return f"{error} The engine's last lines:\n{error.log_tail}"
    return str(error)
