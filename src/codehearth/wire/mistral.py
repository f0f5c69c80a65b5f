"""The shape of Mistral's fill-in-the-middle route. Source: Mistral's API reference and client."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from codehearth.wire.requests import Count, KeepAlive, ModelId, Probability, Shape, Stop


class FimRequest(Shape):
    """`POST /v1/fim/completions`. `min_tokens` and `metadata` are not honoured."""

    model: ModelId | None = None
    prompt: str
    suffix: str | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    random_seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    stop: Stop | None = None
    stream: bool | None = None
    user: Annotated[str, Field(max_length=256)] | None = None
    keep_alive: KeepAlive | None = None
