"""How much of a conversation goes back to the model: the newest turns that fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.gateway.page.history import Estimate, Sent, estimate_for, sent, turns_of
from codehearth.records.talk import Message


def message(role: Any, content: str, **more: Any) -> Message:
    fields: dict[str, Any] = {
        "id": "m",
        "parent_id": None,
        "reasoning": "",
        "attachments": (),
        "model": None,
        "state": "done",
        "error": None,
        "figures": None,
        "created_at": 0.0,
        "updated_at": 0.0,
    }
    return Message(role=role, content=content, **(fields | more))


def talk(num_turns: int, *, characters: int = 300) -> list[Message]:
    """Turns of one question and one answer, each of some hundred characters."""
    return [
        message(role, f"{role} {number} " + "x" * characters)
        for number in range(num_turns)
        for role in ("user", "assistant")
    ]


def chosen(path: Sequence[Message], **more: Any) -> Sent:
    options: dict[str, Any] = {
        "system_prompt": "",
        "context_tokens": 4096,
        "max_tokens": 256,
        "max_turns": None,
        "estimate": Estimate(),
    }
    return sent(path, **(options | more))


def test_all_of_a_short_talk_is_sent_below_the_system_prompt() -> None:
    made = chosen([*talk(2), message("user", "and?")], system_prompt="Be brief.")

    assert made.left_out_turns == 0
    assert [one["role"] for one in made.messages] == [
        "system", "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip


def test_old_turns_are_left_out_whole_and_counted() -> None:
    made = chosen([*talk(40), message("user", "and?")])

    assert 0 < made.left_out_turns < 40
    assert made.messages[0]["content"].startswith(f"user {made.left_out_turns} ")
    assert made.estimated_tokens + 256 <= 4096


def test_the_newest_question_is_sent_even_if_it_cannot_fit() -> None:
    made = chosen([*talk(2), message("user", "x" * 100_000)])

    assert made.left_out_turns == 2 and made.is_least
    assert len(made.messages) == 1


@given(
    num_turns=st.integers(0, 12),
    context_tokens=st.integers(64, 4096),
    max_turns=st.none() | st.integers(1, 12),
)
def test_what_is_sent_is_the_end_of_the_talk(
    num_turns: int, context_tokens: int, max_turns: int | None
) -> None:
    path = [*talk(num_turns), message("user", "and?")]

    made = chosen(path, context_tokens=context_tokens, max_turns=max_turns)

    contents = [one.content for one in path]
    assert [one["content"] for one in made.messages] == contents[2 * made.left_out_turns :]
    assert max_turns is None or num_turns + 1 - made.left_out_turns <= max_turns


def test_answers_that_failed_are_left_out_and_questions_become_one() -> None:
    path = [message("user", "one"), message("assistant", ""), message("user", "two")]

    assert turns_of(path) == [[{"role": "user", "content": "one\n\ntwo"}]]


def test_what_the_engine_counted_corrects_the_estimate() -> None:
    path = talk(3)
    plain = Estimate().tokens([{"role": one.role, "content": one.content} for one in path])
    path[-1] = message(
        "assistant", path[-1].content, model="m", figures={"context_used": plain // 2}
    )

    assert estimate_for(path, model="m", system_prompt="").factor == pytest.approx(0.515, rel=0.01)
    assert estimate_for(path, model="another", system_prompt="") == Estimate()


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_a_refusal_always_makes_the_estimate_larger(estimated: int, counted: int) -> None:
    assert Estimate().corrected(estimated=estimated, counted=counted).factor > 1
