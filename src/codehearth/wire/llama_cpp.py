"""The shapes of llama.cpp's own completion routes, as its editor clients send them.

Source of names and ranges: the clients' sources (llama.vim, llama.vscode, Continue, twinny) and
the server's documentation. Bounds marked "ours" are limits of this server.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from codehearth.wire.requests import (
    MAX_CHOICES,
    KeepAlive,
    ModelId,
    Penalty,
    Probability,
    Shape,
    Stop,
)

MAX_SNIPPETS = 256  # ours
MAX_FIELDS = 64  # ours

Milliseconds = Annotated[int, Field(ge=-1, le=10**7)]
Limit = Annotated[int, Field(ge=-2, le=2**31 - 1)]
"""A number of tokens; -1 is as many as fit."""
Sampler = Literal[
    "dry",
    "top_k",
    "typ_p",
    "top_p",
    "top_n_sigma",
    "min_p",
    "temperature",
    "xtc",
    "infill",
    "penalties",
    "adaptive_p",
]


class ExtraFile(Shape):
    """A piece of another file. When the client took it (`time`) counts for nothing here."""

    filename: Annotated[str, Field(max_length=4096)] = ""
    text: str


class Adapter(Shape):
    id: Annotated[int, Field(ge=0, le=2**31 - 1)]
    scale: Annotated[float, Field(ge=-100, le=100)]


class LlamaSampling(Shape):
    """What llama.cpp's two routes share."""

    model: ModelId | None = None
    n_predict: Limit | None = None
    max_tokens: Limit | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=10**6)] | None = None
    top_p: Probability | None = None
    min_p: Probability | None = None
    repeat_penalty: Annotated[float, Field(ge=0, le=2)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | None = None
    samplers: Annotated[list[Sampler], Field(max_length=16)] | None = None
    stream: bool | None = None
    cache_prompt: bool | None = None
    id_slot: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None
    t_max_prompt_ms: Milliseconds | None = None
    t_max_predict_ms: Milliseconds | None = None
    response_fields: (
        Annotated[list[Annotated[str, Field(max_length=128)]], Field(max_length=MAX_FIELDS)] | None
    ) = None
    n_cmpl: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    lora: Annotated[list[Adapter], Field(max_length=16)] | None = None
    user: Annotated[str, Field(max_length=256)] | None = None
    keep_alive: KeepAlive | None = None

    @property
    def max_new_tokens(self) -> int | None:
        """None for as many as fit."""
        limit = self.max_tokens if self.n_predict is None else self.n_predict
        return None if limit is not None and limit < 0 else limit


class InfillRequest(LlamaSampling):
    """`POST /infill`. `prompt` is what stands before the cursor on its line."""

    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: Annotated[list[ExtraFile], Field(max_length=MAX_SNIPPETS)] = Field(
        default_factory=list
    )
    prompt: str = ""
    n_indent: Annotated[int, Field(ge=0, le=10**6)] | None = None


class LlamaCompletionRequest(LlamaSampling):
    """`POST /completion`."""

    prompt: str
