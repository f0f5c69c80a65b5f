"""The shape of Mistral's fill-in-the-middle route. Source: Mistral's API reference and client."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from codehearth.wire.requests import Count, KeepAlive, ModelId, Probability, Shape, Stops, StopText


class FimRequest(Shape):
    """`POST /v1/fim/completions`. `min_tokens` and `metadata` are not honoured."""

    model: ModelId | None = None
    prompt: str
    suffix: str | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    random_seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    stop: StopText | Stops | None = None
    stream: bool | None = None
    user: Annotated[str, Field(max_length=256)] | None = None
    keep_alive: KeepAlive | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _no_empty_stop(cls, stop: Any) -> Any:
        if isinstance(stop, list):
            return [text for text in stop if text != ""]
        return None if stop == "" else stop
