"""Which server is asked, and what is said to it: the pure parts of the remote worker."""

from __future__ import annotations

import pytest

from codehearth.workers.remote import Upstream, choose
from codehearth.workers.translation import passed_on, with_chat_logprobs


def test_the_well_one_with_the_least_to_do_is_asked() -> None:
    ill, busy, free = Upstream("ill", ""), Upstream("busy", ""), Upstream("free", "")
    ill.left_alone_until, busy.num_in_flight, free.num_in_flight = 20.0, 3, 2

    assert choose([ill, busy, free], now=10.0) is free
    assert choose([ill, busy, free], now=30.0) is ill


def test_where_none_is_well_the_soonest_is_tried() -> None:
    first, second = Upstream("a", ""), Upstream("b", "")
    first.left_alone_until, second.left_alone_until = 30.0, 20.0

    assert choose([first, second], now=10.0) is second


def test_only_what_openai_knows_is_passed_on() -> None:
    asked = {
        "prompt": "x",
        "max_tokens": 5,
        "top_k": 0,
        "min_p": 0.0,
        "repeat_penalty": 1.0,
        "cache_prompt": True,
        "return_progress": True,
        "logit_bias": [[7, 1.5]],
        "temperature": 0.2,
    }

    assert passed_on(asked, is_chat=False) == {
        "prompt": "x",
        "max_tokens": 5,
        "temperature": 0.2,
        "logit_bias": {"7": 1.5},
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_what_says_something_is_passed_on_under_the_name_it_has_there() -> None:
    body = passed_on({"messages": [], "top_k": 20, "repeat_penalty": 1.1}, is_chat=True)

    assert (body["top_k"], body["repetition_penalty"]) == (20, 1.1)


def test_legacy_log_probabilities_get_chats_form() -> None:
    legacy = {"tokens": ["é"], "token_logprobs": [-0.5], "top_logprobs": [{"é": -0.5, "e": -1.0}]}
    chunk = {"choices": [{"text": "é", "logprobs": legacy}]}

    (choice,) = with_chat_logprobs(chunk)["choices"]

    entry = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    other = {"token": "e", "logprob": -1.0, "bytes": [101]}
    assert choice["logprobs"] == {"content": [entry | {"top_logprobs": [entry, other]}]}


def test_a_chunk_that_is_no_object_is_an_error() -> None:
    with pytest.raises(ValueError, match="no object"):
        with_chat_logprobs([])
