"""The shapes of Ollama's API, as its clients send them.

Source: Ollama's API documentation and the clients (ollama-python, Continue, Zed, twinny, llm-ls).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from codehearth.wire.requests import (
    MAX_MESSAGES,
    MAX_TOOLS,
    KeepAlive,
    ModelId,
    Name,
    Penalty,
    Probability,
    RepositoryName,
    Shape,
    Stop,
    Temperature,
)

Images = Annotated[list[str], Field(max_length=64)]
Format = Literal["json", ""] | dict[str, Any]
Think = bool | Literal["low", "medium", "high"]


class Options(Shape):
    """Those of Ollama's options that are honoured; the others are about its own loading."""

    num_predict: Annotated[int, Field(ge=-2, le=2**31 - 1)] | None = None
    temperature: Temperature | None = None
    top_k: Annotated[int, Field(ge=-1, le=10**6)] | None = None
    top_p: Probability | None = None
    min_p: Probability | None = None
    repeat_penalty: Annotated[float, Field(ge=0, le=2)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | None = None

    @property
    def max_tokens(self) -> int | None:
        """None for as many as fit."""
        return None if self.num_predict is not None and self.num_predict < 0 else self.num_predict


class OllamaRequest(Shape):
    """What both ways to generate share. Ours, beside Ollama's: `repository`, as for chat."""

    model: ModelId | None = None
    format: Format | None = None
    stream: bool | None = None
    keep_alive: KeepAlive | None = None
    options: Options = Options()
    think: Think | None = None
    repository: RepositoryName | None = None

    @property
    def is_streamed(self) -> bool:
        return self.stream is not False


class GenerateRequest(OllamaRequest):
    """`POST /api/generate`."""

    prompt: str = ""
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: Annotated[list[int], Field(max_length=2**20)] | None = None
    images: Images | None = None
    raw: bool | None = None


class CalledFunction(Shape):
    name: Name
    arguments: dict[str, Any] = Field(default_factory=dict)


class OllamaToolCall(Shape):
    function: CalledFunction


class OllamaMessage(Shape):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    images: Images | None = None
    tool_calls: Annotated[list[OllamaToolCall], Field(max_length=MAX_TOOLS)] | None = None
    tool_name: Name | None = None
    thinking: str | None = None


class OllamaChatRequest(OllamaRequest):
    """`POST /api/chat`. `tools` are checked as OpenAI's, whose shape they have."""

    messages: Annotated[list[OllamaMessage], Field(max_length=MAX_MESSAGES)] = Field(
        default_factory=list
    )
    tools: Annotated[list[dict[str, Any]], Field(max_length=MAX_TOOLS)] | None = None


class ShowRequest(Shape):
    """`POST /api/show`. Older clients say `name` for `model`."""

    model: ModelId | None = None
    name: ModelId | None = None
    verbose: bool | None = None


class EmbedRequest(Shape):
    """`POST /api/embed`."""

    model: ModelId | None = None
    input: str | Annotated[list[str], Field(max_length=2048)]
    truncate: bool | None = None
    keep_alive: KeepAlive | None = None
