"""A conversation within a context."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from codehearth.cli.history import Conversation, Turn, fitted

TURNS = st.lists(st.builds(Turn, st.text(max_size=400), st.text(max_size=400)), max_size=8)


def test_a_question_is_sent_behind_all_turns_and_the_system_prompt() -> None:
    conversation = Conversation("be brief").answered("one?", "1").answered("two?", "2")

    assert conversation.messages("three?") == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "three?"},
    ]


def test_a_short_conversation_is_kept_whole() -> None:
    conversation = Conversation().answered("a", "b").answered("c", "d")

    assert fitted(conversation, "e", context_tokens=4096, max_tokens=512) == conversation


@given(TURNS, st.text(max_size=200), st.integers(64, 4096))
def test_what_is_kept_are_the_latest_turns_in_order(
    turns: list[Turn], question: str, context: int
) -> None:
    conversation = Conversation(turns=tuple(turns))

    kept = fitted(conversation, question, context_tokens=context, max_tokens=512)

    assert kept.turns == tuple(turns)[len(turns) - len(kept.turns) :]
    characters = sum(len(turn.question + turn.answer) for turn in kept.turns)
    assert not kept.turns or characters / conversation.characters_per_token < context


def test_what_the_server_counted_corrects_the_guess() -> None:
    """Chinese takes more tokens a character than the first guess allows for."""
    question = "写一个函数" * 100
    conversation = Conversation().counted(question, prompt_tokens=506)

    assert conversation.characters_per_token == 1.0
    long = conversation.answered(question, question).answered(question, question)
    assert len(fitted(long, question, context_tokens=4096, max_tokens=512).turns) == 2
    assert len(fitted(long, question, context_tokens=2048, max_tokens=512).turns) == 1
