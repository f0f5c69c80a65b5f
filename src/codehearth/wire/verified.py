"""The requests that run code: verified generation, and a block of the page."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from codehearth.wire.requests import KeepAlive, Message, ModelId, Probability, Shape

MAX_CODE_CHARACTERS = 1 << 16
MAX_TEST_CHARACTERS = 1 << 16
MAX_CANDIDATES = 8
MAX_REPAIRS = 2
MAX_RUN_S = 30.0
MAX_VERIFIED_TOKENS = 8192
MAX_VERIFIED_MESSAGES = 64

RunTime = Annotated[float, Field(ge=0.5, le=MAX_RUN_S)]


class VerifiedRequest(Shape):
    """`prompt`, or `messages` that end with the user's; the code must pass `tests`."""

    model: ModelId | None = None
    prompt: Annotated[str, Field(min_length=1, max_length=MAX_CODE_CHARACTERS)] | None = None
    messages: (
        Annotated[list[Message], Field(min_length=1, max_length=MAX_VERIFIED_MESSAGES)] | None
    ) = None
    tests: Annotated[str, Field(min_length=1, max_length=MAX_TEST_CHARACTERS)]
    n: Annotated[int, Field(ge=1, le=MAX_CANDIDATES)] | None = None
    repairs: Annotated[int, Field(ge=0, le=MAX_REPAIRS)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MAX_VERIFIED_TOKENS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    seed: Annotated[int, Field(ge=0, lt=2**62)] | None = None
    time_limit_s: RunTime | None = None
    keep_alive: KeepAlive | None = None

    @model_validator(mode="after")
    def _asks_once(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("one of 'prompt' and 'messages' is needed, not both")
        if self.messages is not None and self.messages[-1].role != "user":
            raise ValueError("the last of 'messages' must be the user's")
        return self


class RunRequest(Shape):
    """A block of code to be run as it is."""

    language: Literal["python"] | None = None
    code: Annotated[str, Field(min_length=1, max_length=MAX_CODE_CHARACTERS)]
    stdin: Annotated[str, Field(max_length=MAX_CODE_CHARACTERS)] | None = None
    time_limit_s: RunTime | None = None
