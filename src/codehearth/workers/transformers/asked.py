"""A request's body as what the computing thread needs; pure, but for the tokenizer."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from .job import Sampling, Vocabulary
from .listener import Refused, invalid, unsupported

_FORBIDDEN = -1e9  # as a bias: what "false" means in llama.cpp's form
_MAX_BEGINNING_CHARS = 256
# What OpenAI's clients may send and this engine does not do; silence would be a wrong answer.
_NOT_DONE = ("tools", "response_format", "grammar", "json_schema", "suffix")


def parse(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid("the body is not JSON") from error
    if not isinstance(asked, dict):
        raise invalid("the body is not a JSON object")
    for name in _NOT_DONE:
        if asked.get(name) and asked[name] != {"type": "text"}:
            raise unsupported(f"'{name}' is not done by this engine; llama.cpp does it")
    return asked


def number(asked: Mapping[str, Any], name: str, default: float) -> float:
    value = asked.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(f"'{name}' is not a number")
    return value


def sampling_of(asked: Mapping[str, Any], *, choice: int, vocabulary_size: int) -> Sampling:
    """What a request asks of the choice of tokens; `choice` makes each of `n` a different one."""
    seed = asked.get("seed")
    return Sampling(
        temperature=max(0.0, float(number(asked, "temperature", 1.0))),
        top_p=float(number(asked, "top_p", 1.0)),
        top_k=max(0, int(number(asked, "top_k", 0))),
        min_p=float(number(asked, "min_p", 0.0)),
        repeat_penalty=float(number(asked, "repeat_penalty", 1.0)) or 1.0,
        presence_penalty=float(number(asked, "presence_penalty", 0.0)),
        frequency_penalty=float(number(asked, "frequency_penalty", 0.0)),
        seed=secrets.randbits(63) if seed is None else int(number(asked, "seed", 0)) + choice,
        bias=_bias(asked.get("logit_bias"), vocabulary_size),
        begins_with=_beginning(asked.get("begins_with")),
    )


def _beginning(asked: Any) -> str:
    """Ours alone: the house sends it where it asks llama.cpp with a grammar."""
    if not isinstance(asked, str | None) or len(asked or "") > _MAX_BEGINNING_CHARS:
        raise invalid(f"'begins_with' is not a text of {_MAX_BEGINNING_CHARS} characters at most")
    return asked or ""


def adapter_of(asked: Mapping[str, Any], num_adapters: int) -> int | None:
    """The place of the adapter that a request asks for, as llama.cpp's server is asked."""
    wanted = asked.get("lora")
    if not wanted:
        return None
    try:
        ((place, scale),) = [(one["id"], one["scale"]) for one in wanted]
    except (TypeError, KeyError, ValueError) as error:
        raise invalid("'lora' is not a list of one adapter with its scale") from error
    if place not in range(num_adapters) or scale != 1:
        raise invalid(f"'lora' is none of {num_adapters} adapters at the scale 1")
    return int(place)


def stops_of(asked: Mapping[str, Any]) -> tuple[str, ...]:
    stop = asked.get("stop")
    stops = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in stops):
        raise invalid("'stop' is neither a text nor a list of texts")
    return tuple(stops)


def end_ids_of(stops: Sequence[str], loaded: Vocabulary) -> frozenset[int]:
    """The stops that are single tokens of their own: of special ones no text is ever written."""
    added: Mapping[str, int] = loaded.tokenizer.get_added_vocab()
    return frozenset(added[stop] for stop in stops if stop in added)


def num_top_of(asked: Mapping[str, Any], *, is_chat: bool) -> int | None:
    """How many alternatives of each token are wanted; None where no log-probabilities are."""
    if not asked.get("logprobs") if is_chat else asked.get("logprobs") is None:
        return None
    name = "top_logprobs" if is_chat else "logprobs"
    count = int(number(asked, name, 0))
    if count < 0:
        raise invalid(f"'{name}' is less than 0")
    return count


def prompts_of(asked: Mapping[str, Any], loaded: Vocabulary) -> list[list[int]]:
    """The prompts of a completion as token ids: a text, tokens, or a list of either."""
    prompt = asked.get("prompt")
    is_tokens = isinstance(prompt, list) and all(type(one) is int for one in prompt)
    several = prompt if isinstance(prompt, list) and not is_tokens else [prompt]
    if not several:
        raise invalid("'prompt' is empty")
    return [_ids_of(one, loaded) for one in several]


def _ids_of(prompt: Any, loaded: Vocabulary) -> list[int]:
    if isinstance(prompt, str):
        ids = encoded(prompt, loaded)
    elif isinstance(prompt, list) and all(type(one) is int for one in prompt):
        ids = list(prompt)
        if any(not 0 <= one < loaded.vocabulary_size for one in ids):
            raise invalid("'prompt' holds a token that is not in the vocabulary")
    else:
        raise invalid("'prompt' is neither a text nor tokens")
    if not ids:
        raise invalid("'prompt' holds no token")
    return ids


def encoded(text: str, loaded: Vocabulary) -> list[int]:
    """Token ids with what the tokenizer sets before a text, once: a prompt may begin with it."""
    ids: list[int] = loaded.tokenizer(text)["input_ids"]
    first = loaded.tokenizer.bos_token_id
    if len(ids) > 1 and first is not None and ids[0] == ids[1] == first:
        del ids[0]
    return ids


def chat_prompt(asked: Mapping[str, Any], loaded: Vocabulary) -> list[int]:
    """The conversation by the checkpoint's own template, as token ids."""
    text = chat_text(asked, loaded)
    ids: list[int] = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise invalid("the model's chat template makes nothing of these messages")
    return ids


def chat_text(asked: Mapping[str, Any], loaded: Vocabulary) -> str:
    """What the checkpoint's own template makes of the conversation.

    The template runs in jinja's immutable sandbox, which transformers makes. A last message of the
    assistant is gone on with.
    """
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("'messages' is not a list of messages")
    if not all(isinstance(one, dict) and isinstance(one.get("role"), str) for one in messages):
        raise invalid("'messages' holds something that is no message")
    if not loaded.tokenizer.chat_template:
        raise unsupported("this checkpoint has no chat template; ask for a completion")
    goes_on = messages[-1]["role"] == "assistant"
    try:
        return str(
            loaded.tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=not goes_on,
                continue_final_message=goes_on,
            )
        )
    except Exception as error:
        # A template is somebody's program: whatever it raises is about these messages.
        raise invalid(f"the model's chat template refuses: {str(error)[:300]}") from error


def max_new_tokens_of(
    asked: Mapping[str, Any], *, num_prompt: int, context_tokens: int, default: int
) -> int:
    """How many tokens may follow; raises Refused where the prompt leaves no room for one."""
    wanted = asked.get("max_tokens", asked.get("max_completion_tokens"))
    wanted = default if wanted is None else int(number({"max_tokens": wanted}, "max_tokens", 0))
    if num_prompt + min(wanted, 1) > context_tokens:
        raise Refused(
            400,
            f"request ({num_prompt} tokens) exceeds the available context size "
            f"({context_tokens} tokens)",
            "exceed_context_size_error",
            n_prompt_tokens=num_prompt,
            n_ctx=context_tokens,
        )
    return max(0, min(wanted, context_tokens - num_prompt))


def _bias(asked: Any, vocabulary_size: int) -> Mapping[int, float]:
    pairs: Sequence[Any] = list(asked.items()) if isinstance(asked, dict) else asked or []
    try:
        bias = {int(token): _FORBIDDEN if to is False else float(to) for token, to in pairs}
    except (TypeError, ValueError) as error:
        raise invalid("'logit_bias' is not a map from tokens to numbers") from error
    if not all(0 <= token < vocabulary_size for token in bias):
        raise invalid("'logit_bias' holds a token that is not in the vocabulary")
    return bias
