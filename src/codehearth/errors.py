"""Every error that a user can meet, as one tree.

HearthError
├── InvalidRequest            400  what was sent cannot be answered; names the field
│   ├── ContextLengthExceeded 400  the prompt is longer than the model's context
│   ├── Unsupported           400  this model or engine cannot do what was asked
│   ├── BodyTooLarge          413  more bytes than a request may have
│   ├── WrongContentType      415  a body that is not JSON, where JSON is wanted
│   ├── MethodNotAllowed      405  the route is there, for another method
│   └── Conflict              409  something else is under way with what was asked for
├── BadSetting                     a setting that stops the start; names setting and source
├── Unauthorized              401  no key, or one that is not known
│   └── Forbidden             403  a key, host or origin that may not do this
├── NotFound                  404  no such route, key, conversation, job or file
│   └── ModelNotFound         404  with the nearest names
├── DoesNotFit                503  asks for more memory than there is; with both numbers
├── DiskFull                  507  a file would fill the disk; with both numbers
├── Overloaded                503  the queue is full or the server is leaving; with Retry-After
│   └── RateLimited           429  one key asks for too much
├── RecordsUnavailable        503  the records are locked or the disk is full; with Retry-After
├── EngineFailed              503  an engine's child died, hung or refused to start
│   ├── EngineMissing         503  the engine is not installed here; names the command that does it
│   └── OutOfMemory           503  the engine ran out of memory
├── BadWeights                422  a file that is damaged or not what it says
├── HubFailed                 502  a model hub could not be reached or sent something wrong
├── ServerUnreachable              no server answers at the address
└── UpstreamFailed            502  a server that we speak to answered with an error

Each class owns its HTTP status, OpenAI error type and code, and exit code of the command line.
Nothing here knows HTTP, click or any other room.
"""

from __future__ import annotations

from typing import ClassVar


class HearthError(Exception):
    """An error with a message for the user and, where there is one, a hint what to do.

    The message says what was asked and what is so; the hint says what to do. Neither may hold a
    key, a traceback or, where it can reach a client, a path.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.param = param
        self.retry_after_s = retry_after_s


class InvalidRequest(HearthError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_value"
    exit_code = 2


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"

    def __init__(self, *, num_prompt_tokens: int, num_context_tokens: int) -> None:
        super().__init__(
            f"This model's maximum context length is {num_context_tokens} tokens. "
            f"However, your prompt has {num_prompt_tokens} tokens.",
            hint="shorten the prompt, or load the model with a larger context",
            param="messages",
        )
        self.num_prompt_tokens = num_prompt_tokens
        self.num_context_tokens = num_context_tokens


class Unsupported(InvalidRequest):
    code = "unsupported"


class BodyTooLarge(InvalidRequest):
    status = 413
    code = "request_too_large"


class WrongContentType(InvalidRequest):
    status = 415
    code = "unsupported_media_type"


class MethodNotAllowed(InvalidRequest):
    status = 405
    code = "method_not_allowed"


class Conflict(InvalidRequest):
    status = 409
    code = "conflict"


class BadSetting(HearthError):
    status = 500
    code = "bad_setting"
    exit_code = 2


class Unauthorized(HearthError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"
    exit_code = 6


class Forbidden(Unauthorized):
    status = 403
    type = "permission_error"
    code = "forbidden"


class NotFound(HearthError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"
    exit_code = 4


class ModelNotFound(NotFound):
    code = "model_not_found"

    def __init__(
        self, name: str, *, nearest: tuple[str, ...] = (), hint: str | None = None
    ) -> None:
        suggestion = f"did you mean {', '.join(nearest)}?" if nearest else None
        super().__init__(
            f"The model '{name}' is not known here.",
            hint=hint or suggestion or "`hearth ls --all` lists the models",
            param="model",
        )
        self.name = name
        self.nearest = nearest


class DoesNotFit(HearthError):
    """A model that needs more memory than this machine has free, with both numbers in bytes."""

    status = 503
    code = "does_not_fit"
    exit_code = 3

    def __init__(
        self, message: str, *, needed_bytes: int, free_bytes: int, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, param="model")
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class DiskFull(HearthError):
    status = 507
    code = "disk_full"
    exit_code = 3


class Overloaded(HearthError):
    status = 503
    code = "overloaded"

    def __init__(self, message: str, *, retry_after_s: int = 1, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, retry_after_s=retry_after_s)


class RateLimited(Overloaded):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class RecordsUnavailable(HearthError):
    """The records cannot be read or written now. What was written before is safe."""

    status = 503
    code = "records_unavailable"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, retry_after_s=2)


class EngineFailed(HearthError):
    """An engine's child that died, hung or refused; `log_tail` holds its last lines.

    The tail is for the operator (command line, log file, page of an administrator). It may name
    paths, so the gateway does not send it to clients.
    """

    status = 503
    code = "engine_failed"

    def __init__(
        self,
        message: str,
        *,
        log_tail: str = "",
        hint: str | None = None,
        retry_after_s: int | None = 1,
    ) -> None:
        super().__init__(message, hint=hint, retry_after_s=retry_after_s)
        self.log_tail = log_tail


class EngineMissing(EngineFailed):
    code = "engine_missing"
    exit_code = 3


class OutOfMemory(EngineFailed):
    code = "out_of_memory"
    exit_code = 3


class BadWeights(HearthError):
    status = 422
    type = "invalid_request_error"
    code = "bad_weights"


class HubFailed(HearthError):
    status = 502
    code = "hub_failed"


class ServerUnreachable(HearthError):
    status = 503
    code = "server_unreachable"
    exit_code = 5


class UpstreamFailed(HearthError):
    status = 502
    code = "upstream_failed"
