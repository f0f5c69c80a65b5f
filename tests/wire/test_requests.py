"""Requests are typed at the door; what is wrong is named by its field."""

from __future__ import annotations

from typing import Any

import pytest

from codehearth.errors import InvalidRequest
from codehearth.wire.requests import ChatRequest, CompletionRequest, EmbeddingRequest
from codehearth.wire.validation import validated

HELLO = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
        ),
        ({"messages": [HELLO[0]] * 4097}, "messages"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 1e308}, "temperature"),
        ({"temperature": "0.5"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"stop": 5}, "stop"),
        ({"stop": ["x"] * 33}, "stop"),
        ({"stop": [5]}, "stop[0]"),
        ({"stream": "true"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"seed": 2**63}, "seed"),
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, None),
        ({"model": ""}, "model"),
        ({"model": ["starter"]}, "model"),
    ],
)
def test_a_wrong_chat_field_is_named(change: dict[str, Any], param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validated(ChatRequest, {"messages": HELLO} | change)

    assert param is None or param.startswith(str(caught.value.param))
    assert str(caught.value.param).split("[")[0].split(".")[0] == next(iter(change))


def test_null_is_the_same_as_not_given() -> None:
    request = validated(
        ChatRequest, {"messages": HELLO, "temperature": None, "stop": None, "n": None}
    )

    assert (request.temperature, request.stops, request.num_choices) == (None, [], 1)


def test_unknown_fields_are_ignored() -> None:
    assert validated(ChatRequest, {"messages": HELLO, "n_discard": -1, "store": True})


@pytest.mark.parametrize(("stop", "stops"), [("a", ["a"]), (["a", ""], ["a"]), ("", []), ([], [])])
def test_stop_is_a_text_or_a_list(stop: Any, stops: list[str]) -> None:
    assert validated(ChatRequest, {"messages": HELLO, "stop": stop}).stops == stops


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
        (None, [""]),
    ],
)
def test_a_prompt_is_text_or_tokens_one_or_many(prompt: Any, prompts: list[Any]) -> None:
    assert validated(CompletionRequest, {"prompt": prompt}).prompts == prompts


def test_too_many_prompts_are_told_by_their_number() -> None:
    with pytest.raises(InvalidRequest, match="'prompt': List should have at most 64 items"):
        validated(CompletionRequest, {"prompt": ["a"] * 65})


@pytest.mark.parametrize("prompt", [5, [], [[]], ["a", 1], [1, "a"], {"a": 1}, [-1], ["a"] * 65])
def test_any_other_prompt_is_refused(prompt: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validated(CompletionRequest, {"prompt": prompt})

    assert str(caught.value.param).startswith("prompt")


def test_an_embedding_needs_input() -> None:
    with pytest.raises(InvalidRequest) as caught:
        validated(EmbeddingRequest, {"model": "x"})

    assert caught.value.param == "input"
