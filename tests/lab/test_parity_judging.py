"""What is named when two sides differ, as tables; no engine is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from codehearth.lab.parity.judging import Parity, allowed_difference, judge
from codehearth.lab.parity.observation import Ends, Line, Observation, Reading, Token
from codehearth.lab.parity.prompts import after_answer, prompts_for
from codehearth.lab.parity.sides import labels_of

CHAT, *_ = prompts_for(has_chat=True, marks=())
BOS, END, OTHER_END = 1, 2, 3
IDS, PIECES = (BOS, 10, 11, 12), ("<s>", "def", " add", "<|im_end|>")
TEXT = "<s>def add<|im_end|>"
LINE = Line(tuple(Token(n, f"t{n}", -0.1, {n: -0.1, 99: -2.5}) for n in (20, 21, 22)))


def reading(
    ids: Sequence[int] = IDS,
    pieces: Sequence[str] = PIECES,
    text: str | None = TEXT,
    counted: int | None = None,
) -> Reading:
    number = len(ids) if counted is None else counted
    return Reading(CHAT, text, tuple(ids), tuple(pieces), number)


def side(label: str = "one", read: Reading | None = None, **changes: object) -> Observation:
    whole = Observation(
        label=label,
        bits=16,
        begin=BOS,
        has_template=True,
        marks=frozenset(),
        readings=(read or reading(),),
        lines=(LINE,),
        ends=Ends({END: True}, END, {END: "<|im_end|>"}),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def found(parity: Parity) -> list[str]:
    return [finding.name for finding in parity.findings]


def test_equal_sides_are_the_same() -> None:
    parity = judge(side(), side("two"))

    assert parity.is_same and parity.findings == ()
    assert parity.prompts[0].num_same == parity.prompts[0].num_compared == 3
    assert parity.prompts[0].max_difference == 0


@pytest.mark.parametrize(
    ("other", "name", "told"),
    [
        (
            reading(
                (BOS, 10, 13, 12), ("<s>", "def", " sub", "<|im_end|>"), "<s>def sub<|im_end|>"
            ),
            "template",
            "from character 5 on: one writes 'add<|im_end|>', two 'sub<|im_end|>'",
        ),
        (reading((BOS, *IDS), ("<s>", *PIECES)), "double begin", "on two"),
        (reading(IDS[1:], PIECES[1:], TEXT[3:]), "begin", "one begins the text with '<s>' (1)"),
        (
            reading((BOS, 10, 11, 30, 31), (*PIECES[:3], "<|", "im_end|>")),
            "marks",
            "two spells '<|im_end|>' (12) out",
        ),
        (
            reading((BOS, 10, 14, 15, 12), ("<s>", "def", " a", "dd", "<|im_end|>")),
            "tokens",
            "from place 3 on: one reads ' add' (11), two ' a' (14)",
        ),
        (reading(counted=5), "count", "two reads 5 tokens when it is asked"),
    ],
)
def test_another_prompt_is_named(other: Reading, name: str, told: str) -> None:
    parity = judge(side(), side("two", other))

    assert found(parity) == [name]
    assert told in parity.findings[0].message
    assert not parity.is_same


def test_who_sets_the_beginning_does_not_matter() -> None:
    """llama.cpp takes it out of the template's text and sets it itself."""
    parity = judge(side(), side("two", reading(text=TEXT.removeprefix("<s>"))))

    assert parity.is_same


@pytest.mark.parametrize(
    ("token", "is_same"),
    [
        (Token(21, "t21", -0.15, {21: -0.15}), True),
        (Token(21, "t21", -1.5, {21: -1.5}), False),  # a third of the mean is too much
        (Token(50, "t50", -0.1, {50: -0.1, 21: -0.2}), False),  # the reference was sure
        (Token(99, "t99", -0.3, {21: -0.31, 99: -0.3}), False),
    ],
)
def test_what_is_written_may_differ_as_far_as_precisions_do(token: Token, is_same: bool) -> None:
    line = Line((LINE.tokens[0], token, LINE.tokens[2]))

    parity = judge(side(), side("two", lines=(line,)))

    assert parity.is_same is is_same
    assert found(parity) == ([] if is_same else ["weights"])


def test_where_two_tokens_are_nearly_as_likely_rounding_decides() -> None:
    close = Line((Token(20, "a", -0.69, {20: -0.69, 21: -0.70}),))
    turned = Line((Token(21, "b", -0.69, {21: -0.69, 20: -0.70}),))

    parity = judge(side(lines=(close,)), side("two", lines=(turned,)))

    assert parity.is_same
    assert parity.prompts[0].num_same == 0


def test_an_engine_that_may_not_end_is_compared_by_the_likeliest() -> None:
    """llama.cpp with ignore_eos leaves the end out and writes the second; another one writes it."""
    likeliest = {END: -0.1, 30: -2.5}

    parity = judge(
        side(lines=(Line((Token(30, "x", -2.5, likeliest),)),)),
        side("two", lines=(Line((Token(END, "", -0.1, likeliest),)),)),
    )

    assert parity.is_same and parity.prompts[0].num_same == 1


@pytest.mark.parametrize(
    ("ends", "name", "told"),
    [
        (Ends({END: False}, END), "ends", "two goes on after <|im_end|>"),
        (Ends({END: True, OTHER_END: False}, END), "note", "one ends an answer at token 3"),
        (Ends({END: None}, END), "note", "could not be seen"),
    ],
)
def test_where_answers_end_is_compared(ends: Ends, name: str, told: str) -> None:
    first = Ends({END: True, OTHER_END: True}, END, {END: "<|im_end|>"})

    parity = judge(side(ends=first), side("two", ends=ends))

    assert found(parity) == [name]
    assert told in parity.findings[0].message
    assert parity.is_same is (name == "note")


def test_what_the_files_lack_is_named() -> None:
    marks = frozenset({"<|fim_prefix|>"})

    parity = judge(side(marks=marks), side("two", has_template=False))

    assert found(parity) == ["template", "marks"]
    assert "two has no chat template" in parity.findings[0].message


def test_a_side_without_tokens_is_compared_by_its_counts() -> None:
    silent = reading((), (), counted=5)

    parity = judge(side(), side("two", silent))

    assert found(parity) == ["note", "tokens"]
    assert parity.prompts[0].is_same_prompt is None


def test_coarser_weights_may_differ_more() -> None:
    bits = (32.0, 16.0, 8.5, 6.6, 4.9, 3.4, 2.0)

    allowed = [allowed_difference(one) for one in bits]

    assert allowed == sorted(allowed) and allowed[0] < allowed[-1] / 100


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        ([("a", "llama.cpp", "q8_0"), ("a", "llama.cpp", "q2_k")], ("q8_0", "q2_k")),
        (
            [("a", "llama.cpp", "q8_0"), ("a", "transformers", "q8_0")],
            ("llama.cpp", "transformers"),
        ),
        (
            [("a", "llama.cpp", "f16"), ("b", "transformers", "f16")],
            ("a llama.cpp", "b transformers"),
        ),
    ],
)
def test_a_side_is_called_by_what_tells_it_from_the_others(
    words: list[tuple[str, ...]], labels: tuple[str, ...]
) -> None:
    assert labels_of(words) == labels


def test_the_end_of_a_turn_is_found_behind_the_answer() -> None:
    assert after_answer("<user>6 * 7?<end><bot>42<end>\n<user>") == "<end>\n<user>"
    assert after_answer("no answer here") == ""
