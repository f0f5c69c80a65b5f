"""From a server's error answer to our error tree; pure.

Our own servers name the error's code, so the error that was raised there is raised here again,
with its exit code. Of other servers the HTTP status decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from codehearth.errors import (
    BodyTooLarge,
    ContextLengthExceeded,
    DoesNotFit,
    Forbidden,
    HearthError,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    Overloaded,
    RateLimited,
    Unauthorized,
    UpstreamFailed,
)

_MAX_MESSAGE = 2000
_KEY_HINT = "set HEARTH_API_KEY to a key of this server (`hearth keys create NAME` makes one)"


def error_of(
    status: int, body: bytes, *, model: str | None = None, retry_after: str | None = None
) -> HearthError:
    """The error that a server's answer means; `model` is the one that was asked for."""
    details = _details(body)
    if details is None:
        return UpstreamFailed(
            f"The server answered {status} with something that is not an API's error.",
            hint="is this the address of an OpenAI-compatible server?",
        )
    return error_of_details(details, status=status, model=model, retry_after=retry_after)


def error_of_details(
    details: Mapping[str, Any],
    *,
    status: int | None = None,
    model: str | None = None,
    retry_after: str | None = None,
) -> HearthError:
    """As `error_of`, for the `error` object alone: it also comes in the middle of a stream."""
    message, hint = _split_hint(str(details.get("message") or "no reason given")[:_MAX_MESSAGE])
    code = details.get("code")
    wait_s = int(retry_after) if retry_after and retry_after.isdigit() else None
    if code == "model_not_found":
        return ModelNotFound(model or "", hint=hint) if model else NotFound(message, hint=hint)
    if code == "context_length_exceeded":
        return _context_exceeded(details, message)
    if code == "does_not_fit":
        numbers = {key: _whole(details.get(key)) for key in ("needed_bytes", "free_bytes")}
        return DoesNotFit(message, hint=hint, **numbers)
    known = _by_code(code) or _by_status(status)
    if issubclass(known, Overloaded):
        return known(message, hint=hint, retry_after_s=wait_s or 1)
    if issubclass(known, Unauthorized) and not issubclass(known, Forbidden):
        hint = _KEY_HINT
    return known(message, hint=hint)


def _details(body: bytes) -> Mapping[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    error = value.get("error", value.get("detail"))
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else None


def _split_hint(message: str) -> tuple[str, str | None]:
    """Our servers write the hint behind the message, as the envelope has no place of its own."""
    head, mark, hint = message.partition(" Hint: ")
    return head, hint.rstrip(".") if mark else None


def _context_exceeded(details: Mapping[str, Any], message: str) -> HearthError:
    prompt = _whole(details.get("num_prompt_tokens"))
    context = _whole(details.get("num_context_tokens"))
    if not context:
        numbers = [int(number) for number in re.findall(r"\d{2,9}", message)]
        context, prompt = (numbers[0], numbers[-1]) if len(numbers) > 1 else (0, 0)
    if not context:
        return InvalidRequest(message, hint="shorten the prompt")
    return ContextLengthExceeded(num_prompt_tokens=prompt, num_context_tokens=context)


def _by_code(code: Any) -> type[HearthError] | None:
    """The class that owns a code, of those that are made of a message alone."""
    special = (ContextLengthExceeded, DoesNotFit, ModelNotFound)
    for known in _tree(HearthError):
        if isinstance(code, str) and known.code == code and known not in special:
            return known
    return None


def _tree(root: type[HearthError]) -> Iterator[type[HearthError]]:
    yield root
    for branch in root.__subclasses__():
        yield from _tree(branch)


def _by_status(status: int | None) -> type[HearthError]:
    by_status: dict[int, type[HearthError]] = {
        401: Unauthorized,
        403: Forbidden,
        404: NotFound,
        413: BodyTooLarge,
        429: RateLimited,
        503: Overloaded,
    }
    if status in by_status:
        return by_status[status]
    return InvalidRequest if status is not None and 400 <= status < 500 else UpstreamFailed


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
