"""The shapes of requests about conversations, and of the document that they are exported as.

All bounds here are ours. What the fields mean stands in docs/page-api.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from codehearth.wire.requests import (
    ModelId,
    Penalty,
    Probability,
    RepositoryName,
    Shape,
    Stops,
)

MAX_CONTENT = 4 * 2**20
MAX_ATTACHMENTS = 16
MAX_FILE_NAME = 200
MAX_IMPORTED_BYTES = 32 * 2**20
FORMAT: Literal["codehearth.conversations"] = "codehearth.conversations"

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
MAX_TITLE_CHARACTERS = 200
Title = Annotated[str, Field(max_length=MAX_TITLE_CHARACTERS)]
SystemPrompt = Annotated[str, Field(max_length=2**16)]
Content = Annotated[str, Field(max_length=MAX_CONTENT)]
Turns = Annotated[int, Field(ge=0, le=10_000)]
Seconds = Annotated[float, Field(ge=0, le=10**12)]
Figure = Annotated[int, Field(ge=0, le=10**12)] | Annotated[float, Field(ge=0, le=10**12)]


class Parameters(Shape):
    """How an answer is made; what is left out has the server's default."""

    max_tokens: Annotated[int, Field(ge=1, le=2**20)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, Field(ge=0, le=10**6)] | None = None
    min_p: Probability | None = None
    repeat_penalty: Annotated[float, Field(ge=0, le=2)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stops | None = None

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class AttachedFile(Shape):
    name: Annotated[str, Field(min_length=1, max_length=MAX_FILE_NAME, pattern=r"^[^\x00-\x1f]+$")]
    text: Content


Attachments = Annotated[list[AttachedFile], Field(max_length=MAX_ATTACHMENTS)]


class ConversationFields(Shape):
    """What can be set of a conversation; what is not given stays."""

    title: Title | None = None
    model: ModelId | None = None
    system_prompt: SystemPrompt | None = None
    parameters: Parameters | None = None
    max_turns: Turns | None = None
    leaf_id: Id | None = None

    def given(self) -> dict[str, Any]:
        """The fields that were given; 0 turns means no bound, which is kept as None."""
        fields = self.model_dump(exclude_none=True, exclude={"parameters"})
        if self.parameters is not None:
            fields["parameters"] = self.parameters.given()
        if "max_turns" in fields:
            fields["max_turns"] = fields["max_turns"] or None
        return fields


class BranchRequest(Shape):
    message_id: Id


class AppendedMessage(Shape):
    role: Literal["user", "assistant"]
    content: Content
    attachments: Attachments | None = None
    model: ModelId | None = None


class AppendRequest(Shape):
    messages: Annotated[list[AppendedMessage], Field(min_length=1, max_length=64)]
    parent_id: Id | None = None


class AnswerRequest(Shape):
    """What to answer: a new message, an edited one, the same again, or the rest of an answer."""

    action: Literal["send", "edit", "regenerate", "continue"]
    content: Content | None = None
    attachments: Attachments | None = None
    parent_id: Id | None = None
    message_id: Id | None = None
    model: ModelId | None = None
    parameters: Parameters | None = None
    repository: RepositoryName | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.action in ("send", "edit") and not (self.content or self.attachments):
            raise ValueError(f"'{self.action}' needs 'content'")
        if self.action == "edit" and self.message_id is None:
            raise ValueError("'edit' needs 'message_id'")
        return self


class ExportedError(Shape):
    message: Annotated[str, Field(max_length=4096)]
    type: Annotated[str, Field(max_length=64)] | None = None
    param: Annotated[str, Field(max_length=256)] | None = None
    code: Annotated[str, Field(max_length=64)] | None = None


class ExportedFigures(Shape):
    prompt_tokens: Figure | None = None
    completion_tokens: Figure | None = None
    tokens_per_s: Figure | None = None
    first_token_s: Figure | None = None
    duration_s: Figure | None = None
    context_used: Figure | None = None
    context_max: Figure | None = None
    left_out_turns: Figure | None = None
    finish_reason: Annotated[str, Field(max_length=32)] | None = None


class ExportedMessage(Shape):
    id: Id
    parent_id: Id | None = None
    role: Literal["user", "assistant"]
    content: Content
    reasoning: Content = ""
    attachments: Attachments | None = None
    model: ModelId | None = None
    state: Literal["streaming", "done", "stopped", "interrupted", "failed"] = "done"
    error: ExportedError | None = None
    figures: ExportedFigures | None = None
    created_at: Seconds | None = None


class ExportedConversation(Shape):
    title: Title = ""
    is_titled: bool = False
    model: ModelId | None = None
    system_prompt: SystemPrompt = ""
    parameters: Parameters | None = None
    max_turns: Turns | None = None
    leaf_id: Id | None = None
    messages: Annotated[list[ExportedMessage], Field(max_length=4096)] = Field(default_factory=list)
    created_at: Seconds | None = None
    updated_at: Seconds | None = None

    @model_validator(mode="after")
    def _is_tree(self) -> Self:
        """Parents come first, so there are no rings; ids are there once."""
        seen: set[str] = set()
        for message in self.messages:
            if message.id in seen:
                raise ValueError("two messages have one id")
            if message.parent_id is not None and message.parent_id not in seen:
                raise ValueError("a message stands before its parent, or has none")
            seen.add(message.id)
        if self.leaf_id is not None and self.leaf_id not in seen:
            raise ValueError("'leaf_id' is none of the messages")
        return self


class ExportedDocument(Shape):
    format: Literal["codehearth.conversations"]
    version: Literal[1]
    conversations: Annotated[list[ExportedConversation], Field(max_length=5000)]
