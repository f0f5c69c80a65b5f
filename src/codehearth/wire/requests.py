"""The shapes of requests in OpenAI's API: types, bounds and defaults of every field we read.

Unknown fields are ignored, as OpenAI's clients send what their version knows. What an engine is
given is chosen from these fields by the gateway; nothing else of a request reaches an engine.
Source of names and ranges: OpenAI's API reference; bounds marked "ours" are limits of this server.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

MAX_CHOICES = 8  # ours
MAX_PROMPTS = 64  # ours
MAX_STOPS = 32  # ours: OpenAI takes 4, editors send 9 and more
MAX_STOP_CHARACTERS = 256  # ours
MAX_MESSAGES = 4096  # ours
MAX_TOOLS = 128

ModelId = Annotated[str, Field(min_length=1, max_length=256)]
Name = Annotated[str, Field(max_length=256)]  # of a tool, a call, a user; ours
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
PositiveCount = Annotated[int, Field(ge=1, le=2**31 - 1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopK = Annotated[int, Field(ge=0, le=10**6)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
StopText = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]
Stops = Annotated[list[StopText], Field(max_length=MAX_STOPS)]


def _without_empty(stop: Any) -> Any:
    """An empty text or list is what some clients send for "none"."""
    if isinstance(stop, list):
        return [text for text in stop if text != ""]
    return None if stop == "" else stop


Stop = Annotated[StopText | Stops | None, BeforeValidator(_without_empty)]
TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
Bias = Annotated[float, Field(ge=-100, le=100)]
RepositoryName = Annotated[str, Field(min_length=1, max_length=64)]
KeepAlive = Annotated[float, Field(ge=-1, le=10**9)] | Annotated[str, Field(max_length=16)]


NOT_TEXT = frozenset(
    ("image", "image_url", "input_image", "input_audio", "document", "file", "input_file")
)
"""The types of a message's parts that are refused by name; their addresses are never fetched."""


class Shape(BaseModel):
    """Strict: a number in quotes is not a number; a `null` counts as not given."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, frozen=True)


class StreamOptions(Shape):
    include_usage: bool | None = None


class TextPart(Shape):
    type: Literal["text", "input_text", "output_text", "refusal"]
    text: str = ""


class FunctionCall(Shape):
    name: Name
    arguments: str = ""


class ToolCall(Shape):
    id: Name | None = None
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(Shape):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None
    name: Name | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=MAX_TOOLS)] | None = None
    tool_call_id: Name | None = None
    reasoning_content: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _only_text(cls, content: Any) -> Any:
        """Pictures, sound and files are named in the refusal; their addresses are not fetched."""
        for part in content if isinstance(content, list) else []:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in NOT_TEXT:
                raise ValueError(f"this server takes text only, not '{kind}'")
        return content

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class FunctionTool(Shape):
    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Shape):
    type: Literal["function"]
    function: FunctionTool


class NamedFunction(Shape):
    name: Annotated[str, Field(max_length=128)]


class NamedTool(Shape):
    type: Literal["function"]
    function: NamedFunction


class JsonSchema(Shape):
    name: Annotated[str, Field(max_length=128)] | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Shape):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class Sampling(Shape):
    """What the chat and the completion route share."""

    model: ModelId | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: TopK | None = None
    min_p: Probability | None = None
    repeat_penalty: Annotated[float, Field(ge=0, le=2)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stop: Stop | None = None
    logit_bias: Annotated[dict[str, Bias], Field(max_length=1024)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    grammar: str | None = None
    keep_alive: KeepAlive | None = None

    @property
    def stops(self) -> list[str]:
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @property
    def num_choices(self) -> int:
        return self.n or 1

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(Sampling):
    """Ours, beside OpenAI's: `repository`, of which the model is shown what fits the question."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_tokens: PositiveCount | None = None
    max_completion_tokens: PositiveCount | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    repository: RepositoryName | None = None

    @property
    def max_new_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class TwinnyOptions(Shape):
    """Where twinny puts an OpenAI-compatible request's sampling: Ollama's `options`."""

    num_predict: Annotated[int, Field(ge=-2, le=2**31 - 1)] | None = None
    temperature: Temperature | None = None
    stop: Stop | None = None


class CompletionRequest(Sampling):
    """`suffix`, or a prompt in an infilling template, asks for a middle.

    Ours, beside OpenAI's: `language` and `filepath` of the text, and `ending`: "auto" cuts an
    infilled middle where its block ends, "none" leaves it as the model made it; `repository`, of
    which an infilled middle is shown what its surroundings name.
    """

    prompt: (
        str
        | Annotated[list[TokenId], Field(min_length=1)]
        | Annotated[list[str], Field(min_length=1, max_length=MAX_PROMPTS)]
        | Annotated[
            list[Annotated[list[TokenId], Field(min_length=1)]],
            Field(min_length=1, max_length=MAX_PROMPTS),
        ]
        | None
    ) = None
    suffix: str | None = None
    max_tokens: Count | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    user: Name | None = None
    options: TwinnyOptions | None = None
    language: Annotated[str, Field(max_length=64)] | None = None
    filepath: Annotated[str, Field(max_length=4096)] | None = None
    ending: Literal["auto", "none"] | None = None
    repository: RepositoryName | None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts one by one, each as text or token ids; never empty."""
        if self.prompt is None:
            return [""]
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)


class EmbeddingRequest(Shape):
    model: ModelId | None = None
    input: (
        str
        | Annotated[list[TokenId], Field(min_length=1)]
        | Annotated[list[str], Field(min_length=1, max_length=2048)]
        | Annotated[list[list[TokenId]], Field(min_length=1, max_length=2048)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=2**20)] | None = None
    keep_alive: KeepAlive | None = None
