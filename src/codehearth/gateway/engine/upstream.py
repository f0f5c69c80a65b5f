"""What an engine is asked: the allow-list of parameters, from a typed request and a model's facts.

Nothing of a request reaches an engine but what stands here: engines take unknown and hostile
fields without a word (a negative `n_discard` once wrote out of bounds).
"""

from __future__ import annotations

from typing import Any

from codehearth.errors import InvalidRequest, Unsupported
from codehearth.gateway import schema_cost
from codehearth.models.catalogue import Sampling as Recommended
from codehearth.pool.child import ModelFacts
from codehearth.text.fim import Fim, fim_format_of, render
from codehearth.wire.requests import ChatRequest, CompletionRequest, Message, Sampling, Tool

CHAT_PATH = "/v1/chat/completions"
DEFAULT_MAX_TOKENS = 16  # OpenAI's, for completions
_CHAT_DEFAULTS = Recommended(temperature=0.7, top_p=0.8)
_COMPLETION_DEFAULTS = Recommended(temperature=0.2, top_p=0.95)
_MAX_SEED = 2**32 - 2  # llama.cpp takes 32 bits, and the highest means "random"


def check_chat(request: ChatRequest) -> None:
    """What can be refused before a model is loaded: the cost of schemas, tools and grammars."""
    _check_grammar(request)
    tools = [schema_cost.loosened(tool.function.parameters or {}) for tool in request.tools or ()]
    schema_cost.check_tools(tools, param="tools")
    schema = _schema_of(request)
    if schema is not None:
        schema_cost.check_schema(schema, param="response_format")
    if request.response_format and request.response_format.type == "json_schema" and not schema:
        raise InvalidRequest(
            "'response_format' of type json_schema needs 'json_schema.schema'.",
            param="response_format.json_schema",
        )
    if request.tool_choice not in (None, "none", "auto") and not _tools(request):
        raise InvalidRequest(
            "'tool_choice' asks for a tool that is not there.", param="tool_choice"
        )
    if request.top_logprobs is not None and not request.logprobs:
        raise InvalidRequest("'top_logprobs' needs 'logprobs': true.", param="top_logprobs")


def check_completion(request: CompletionRequest) -> None:
    _check_grammar(request)
    if request.best_of is not None and request.best_of > request.num_choices:
        raise Unsupported("'best_of' above 'n' is not done here.", param="best_of")
    if request.suffix and any(not isinstance(prompt, str) for prompt in request.prompts):
        raise InvalidRequest("'suffix' needs prompts that are text.", param="suffix")


def chat_body(request: ChatRequest, facts: ModelFacts, *, choice: int) -> dict[str, Any]:
    """The engine's chat request for one choice."""
    if facts.weights.is_embedding_model:
        raise Unsupported("This model makes embeddings; it does not chat.", param="model")
    if facts.row is not None and facts.row.kind == "completion" and not _can_chat(facts):
        raise Unsupported(
            "This model completes code; it was not trained to chat.",
            param="model",
            hint="use /v1/completions, or an instruct model",
        )
    body = _sampling(request, _recommended(facts, _CHAT_DEFAULTS), facts, choice=choice)
    body["messages"] = [_message(message) for message in request.messages]
    body |= _given(
        max_tokens=request.max_new_tokens,
        response_format=_response_format(request),
        tools=_tools(request) or None,
        tool_choice=_tool_choice(request) if request.tools else None,
        parallel_tool_calls=request.parallel_tool_calls if request.tools else None,
    )
    if request.logprobs:
        body |= {"logprobs": True, "top_logprobs": max(1, request.top_logprobs or 0)}
    return body


def completion_body(
    request: CompletionRequest, prompt: str | list[int], facts: ModelFacts, *, choice: int
) -> dict[str, Any]:
    """The engine's completion request for one choice of one prompt."""
    if facts.weights.is_embedding_model:
        raise Unsupported("This model makes embeddings; it does not complete.", param="model")
    body = _sampling(request, _recommended(facts, _COMPLETION_DEFAULTS), facts, choice=choice)
    body["prompt"] = _prompt(request, prompt, facts)
    # llama.cpp makes one token where none is asked for; `generate` then drops it.
    body["max_tokens"] = max(
        1, DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
    )
    if request.logprobs is not None:
        body["logprobs"] = max(1, request.logprobs)
    return body | _scoring(request, facts) if scores_prompt(request) else body


def adapter_fields(facts: ModelFacts) -> dict[str, Any]:
    """Which adapter answers, as llama.cpp's server is told; nothing where there is none."""
    return {} if facts.adapter is None else {"lora": [{"id": facts.adapter, "scale": 1.0}]}


def scores_prompt(request: CompletionRequest) -> bool:
    """Whether the prompt's own log-probabilities are wanted, as evaluation harnesses do.

    The engine then repeats the prompt itself, and may be asked for no token more.
    """
    return bool(request.echo) and request.logprobs is not None


def _scoring(request: CompletionRequest, facts: ModelFacts) -> dict[str, Any]:
    if not facts.scores_prompts:
        raise Unsupported(
            "'echo' together with 'logprobs' is not done by this engine: it does not give the "
            "log-probabilities of a prompt.",
            param="echo",
            hint="the engine transformers does",
        )
    max_tokens = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
    return {"echo": True, "max_tokens": max_tokens}


def _prompt(
    request: CompletionRequest, prompt: str | list[int], facts: ModelFacts
) -> str | list[int]:
    if isinstance(prompt, str):
        if request.suffix:
            return render(fim_of(facts), Fim(prompt, request.suffix))
        prefix = facts.weights.text_prefix
        return prefix + prompt.removeprefix(prefix) or _first_token(facts)
    highest = facts.weights.vocabulary_size
    if highest and max(prompt) >= highest:
        raise InvalidRequest(
            f"'prompt' holds the token {max(prompt)}, but the vocabulary ends at {highest - 1}.",
            param="prompt",
        )
    return prompt


def _first_token(facts: ModelFacts) -> str | list[int]:
    """What stands before everything: llama.cpp answers nothing to an empty prompt."""
    ids = facts.weights.token_ids
    first = next((ids[name] for name in ("bos", "eot", "eos") if name in ids), None)
    return "\n" if first is None else [first]


def fim_of(facts: ModelFacts) -> str | None:
    """The infilling format of a loaded model: its marks must be in the vocabulary it has."""
    return fim_format_of(facts.weights.fim_marks, preferred=facts.row.fim if facts.row else None)


def _sampling(
    request: Sampling, recommended: Recommended, facts: ModelFacts, *, choice: int
) -> dict[str, Any]:
    """Sampling as asked, else as the model's makers recommend."""

    def either(name: str) -> Any:
        asked = getattr(request, name)
        return getattr(recommended, name) if asked is None else asked

    names = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")
    return _given(
        **{name: either(name) for name in names},
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        seed=None if request.seed is None else (request.seed + choice) % _MAX_SEED,
        stop=request.stops or None,
        logit_bias=_logit_bias(request, facts),
        grammar=request.grammar or None,
        cache_prompt=True,
    )


def _recommended(facts: ModelFacts, defaults: Recommended) -> Recommended:
    row = facts.row
    if row is None or row.sampling == Recommended():
        return defaults
    return row.sampling


def _logit_bias(request: Sampling, facts: ModelFacts) -> list[list[float]] | None:
    """llama.cpp's pairs; the keys must be ids of the model's vocabulary."""
    if not request.logit_bias:
        return None
    highest = facts.weights.vocabulary_size
    pairs: list[list[float]] = []
    for token, bias in request.logit_bias.items():
        is_number = token.isascii() and token.isdigit() and len(token) <= 12
        if not is_number or int(token) >= (highest or 2**31):
            raise InvalidRequest(
                f"'logit_bias' has the key '{token[:20]}', which is not a token of this model.",
                param="logit_bias",
            )
        pairs.append([int(token), bias])
    return pairs


def _message(message: Message) -> dict[str, Any]:
    """A message as every chat template knows it: text only, and no role that came later."""
    role = {"developer": "system", "function": "tool"}.get(message.role, message.role)
    has_content = message.content is not None or not message.tool_calls
    return _given(
        role=role,
        content=message.text if has_content else "",
        name=message.name,
        tool_call_id=message.tool_call_id,
        reasoning_content=message.reasoning_content,
        tool_calls=[call.model_dump(exclude_none=True) for call in message.tool_calls or ()]
        or None,
    )


def _response_format(request: ChatRequest) -> dict[str, Any] | None:
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return None
    schema = _schema_of(request)
    if wanted.type == "json_schema":
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return {"type": "json_object"} | ({"schema": schema} if schema else {})


def _schema_of(request: ChatRequest) -> dict[str, Any] | None:
    wanted = request.response_format
    if wanted is None:
        return None
    return wanted.json_schema.schema_ if wanted.json_schema else wanted.schema_


def _tools(request: ChatRequest) -> list[dict[str, Any]]:
    """All tools, or only the one that `tool_choice` names: so no engine has to know the choice."""
    choice = request.tool_choice
    named = None if choice is None or isinstance(choice, str) else choice.function.name
    return [
        _tool(tool) for tool in request.tools or () if named is None or tool.function.name == named
    ]


def _tool(tool: Tool) -> dict[str, Any]:
    told = tool.model_dump(exclude_none=True)
    if tool.function.parameters is not None:
        told["function"]["parameters"] = schema_cost.loosened(tool.function.parameters)
    return told


def _tool_choice(request: ChatRequest) -> Any:
    choice = request.tool_choice
    return choice if choice is None or isinstance(choice, str) else "required"


def _check_grammar(request: Sampling) -> None:
    if request.grammar:
        schema_cost.check_grammar(request.grammar, param="grammar")


def _can_chat(facts: ModelFacts) -> bool:
    return bool(facts.weights.chat_template)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
