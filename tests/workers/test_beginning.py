"""Which tokens may come next where an answer must begin with a text: as tables."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from codehearth.workers.transformers.beginning import Beginning, TokenBytes

# Byte-level names: Ġ is a blank, Ċ a line feed; é is Ã and ©.
NAMES = ["<end>", "Ġ", "ĠĠ", "ĠĠĠĠ", "Ġreturn", "re", "return", "turn", "t", "Ã", "©", "Ċ", "ĠĠĠĠĠ"]


class Tokenizer:
    all_special_tokens = ("<end>",)
    all_special_ids = (0,)

    def get_added_vocab(self) -> Mapping[str, int]:
        return {"<end>": 0}

    def convert_ids_to_tokens(self, token: int) -> str:
        return NAMES[token]

    def __len__(self) -> int:
        return len(NAMES)


TOKENS = TokenBytes(Tokenizer(), len(NAMES))


def allowed(beginning: Beginning) -> set[str]:
    return {NAMES[token] for token in beginning.allowed()}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (" ", {"Ġ", "ĠĠ", "ĠĠĠĠ", "ĠĠĠĠĠ", "Ġreturn"}),  # all that begin with it
        ("    ", {"Ġ", "ĠĠ", "ĠĠĠĠ", "ĠĠĠĠĠ"}),  # and its own beginnings
        ("ret", {"re", "return"}),
        ("é", {"Ã"}),  # a part of a character
        ("x", set()),
    ],
)
def test_what_may_come_next(text: str, names: set[str]) -> None:
    assert allowed(Beginning(text, TOKENS)) == names


def test_it_is_written_token_by_token_and_then_everything_may_follow() -> None:
    beginning = Beginning("  ret", TOKENS)
    seen = []

    for name in ("Ġ", "Ġreturn"):
        seen.append(allowed(beginning))
        beginning.took(NAMES.index(name))

    assert seen == [{"Ġ", "ĠĠ"}, {"Ġ", "Ġreturn"}]
    assert not beginning


def test_a_vocabulary_that_cannot_write_it_leaves_the_model_alone() -> None:
    beginning = Beginning("x", TOKENS)

    beginning.took(NAMES.index("re"))

    assert not beginning


def test_tokens_that_the_model_does_not_have_are_never_taken() -> None:
    few = TokenBytes(Tokenizer(), NAMES.index("ĠĠĠĠĠ"))

    assert NAMES.index("ĠĠĠĠĠ") not in few.going_on(b" ")
