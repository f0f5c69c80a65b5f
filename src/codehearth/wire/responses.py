"""The shapes of OpenAI's Responses API without its memory: each request carries its whole
conversation.

Source: OpenAI's API reference, and what its client library and Codex CLI send.
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
    Temperature,
)


class Part(Shape):
    """A part of an item's content."""

    type: Annotated[str, Field(max_length=64)]
    text: str = ""
    refusal: str = ""


class Item(Shape):
    """One of a conversation. Which fields count depends on `type`."""

    type: Annotated[str, Field(max_length=64)] = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[Part] | None = None
    summary: list[Part] | None = None
    call_id: Name | None = None
    name: Name | None = None
    arguments: str = ""
    output: str | list[Part] | None = None


class ResponseTool(Shape):
    """Only those of the type `function` are run by the client."""

    type: Annotated[str, Field(max_length=64)]
    name: Annotated[str, Field(max_length=128)] = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None


class NamedChoice(Shape):
    type: Annotated[str, Field(max_length=64)]
    name: Name | None = None


class TextFormat(Shape):
    type: Literal["text", "json_object", "json_schema"]
    name: Name | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class TextOptions(Shape):
    format: TextFormat | None = None


class ResponsesRequest(Shape):
    """`POST /v1/responses`. Ours, beside OpenAI's: `repository`, as for chat."""

    model: ModelId | None = None
    input: str | Annotated[list[Item], Field(min_length=1, max_length=MAX_MESSAGES)]
    instructions: str | None = None
    max_output_tokens: PositiveCount | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    tools: Annotated[list[ResponseTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    stream: bool | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    repository: RepositoryName | None = None
