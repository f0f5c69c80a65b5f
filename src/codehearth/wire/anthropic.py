"""The shapes of Anthropic's Messages API, as its clients send them.

Source: Anthropic's API reference, and what its client library and Claude Code send. Fields that
are about its own service (cache marks, metadata, thinking budgets) are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from codehearth.wire.requests import (
    MAX_MESSAGES,
    MAX_TOOLS,
    ModelId,
    Name,
    PositiveCount,
    Probability,
    RepositoryName,
    Shape,
    Stops,
    Temperature,
    TopK,
)


class Block(Shape):
    """A part of a message; which fields count depends on `type`."""

    type: Annotated[str, Field(max_length=64)]
    text: str = ""
    thinking: str = ""
    id: Name | None = None
    name: Name | None = None
    input: dict[str, Any] | None = None
    tool_use_id: Name | None = None
    content: str | list[Block] | None = None


class AnthropicMessage(Shape):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]

    @property
    def blocks(self) -> list[Block]:
        if isinstance(self.content, list):
            return self.content
        return [Block(type="text", text=self.content)]


class AnthropicTool(Shape):
    """One that the client runs; those that Anthropic's servers run have no `input_schema`."""

    name: Annotated[str, Field(max_length=128)]
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class ToolChoice(Shape):
    type: Literal["auto", "any", "tool", "none"]
    name: Name | None = None
    disable_parallel_tool_use: bool | None = None


class MessagesRequest(Shape):
    """`POST /v1/messages`. Ours, beside Anthropic's: `repository`, as for chat."""

    model: ModelId | None = None
    messages: Annotated[list[AnthropicMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    system: str | list[Block] | None = None
    max_tokens: PositiveCount = 4096
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: TopK | None = None
    stop_sequences: Stops | None = None
    tools: Annotated[list[AnthropicTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None
    stream: bool | None = None
    repository: RepositoryName | None = None
