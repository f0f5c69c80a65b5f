"""When two forms of a model are said to answer alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codehearth.errors import EngineFailed
from codehearth.lab.tuning.asking import aligned
from codehearth.lab.tuning.forms import require_parity
from codehearth.lab.tuning.outcome import holds, losses, share
from codehearth.lab.tuning.parity import Answer, compare
from codehearth.lab.tuning.templates import with_default_system

ONE = Answer((1, 2), (5, 6, 7), "abc", (-0.1, -0.2, -0.3), (3.0, 0.05, 3.0))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, ""),
        ({"logprobs": (-0.15, -0.2, -0.3)}, ""),
        ({"logprobs": (-0.5, -0.2, -0.3)}, "log-probabilities differ by 0.400"),
        ({"prompt_ids": (1, 3)}, "the prompt of probe 1 becomes other tokens"),
        ({"answer_ids": (5, 9, 7)}, ""),  # a near tie
        ({"answer_ids": (5, 6, 9)}, "the answer to probe 1 parts at token 3"),
        ({"answer_ids": (9, 6, 7)}, "the answer to probe 1 parts at token 1"),
        ({"answer_ids": (5, 6)}, ""),  # the end's own token is not always written down
        ({"answer_ids": (5,)}, ""),  # it stops at a near tie
        ({"answer_ids": ()}, "the answer to probe 1 parts at token 1"),
    ],
)
def test_forms_agree_up_to_rounding(changes: dict[str, object], problem: str) -> None:
    found = compare("f", [ONE], [replace(ONE, **changes)], bound=0.1)  # type: ignore[arg-type]

    assert found.problem.startswith(problem)
    assert found.agrees == (problem == "")


def test_tokens_whose_likelihood_the_server_does_not_tell_are_still_compared() -> None:
    """A letter of three tokens: llama.cpp tells the last one's likelihood only."""
    assert aligned([5, 163, 224, 231], [(5, -0.1), (231, -0.2)]) == (-0.1, None, None, -0.2)
    unknown = replace(ONE, logprobs=(-0.1, None, -0.3))

    assert compare("f", [ONE], [unknown], bound=0.1).agrees
    assert not compare("f", [ONE], [replace(unknown, answer_ids=(5, 6, 8))], bound=0.1).agrees


def test_what_comes_behind_another_token_is_not_compared() -> None:
    other = replace(ONE, answer_ids=(5, 9, 7), logprobs=(-0.1, -9.0, -9.0))

    found = compare("f", [ONE], [other], bound=0.1)

    assert found.agrees and found.num_near_ties == 1 and found.largest_difference == 0.0


def test_a_form_that_disagrees_stops_the_job() -> None:
    wrong = compare("GGUF f16", [ONE], [replace(ONE, prompt_ids=())], bound=0.1)

    with pytest.raises(EngineFailed, match=r"GGUF f16 does not .* Nothing was registered"):
        require_parity([wrong])


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(0, 0, 0.0, 1.0), (100, 100, 0.963, 1.0), (50, 100, 0.404, 0.596), (0, 10, 0.0, 0.278)],
)
def test_shares_have_wilsons_interval(count: int, total: int, low: float, high: float) -> None:
    found = share(count, total)

    assert (round(found.low, 3), round(found.high, 3)) == (low, high)


def test_an_answer_holds_a_text_whatever_its_blanks_and_case() -> None:
    assert holds("I am  XiaoLu,\nyours", "i am xiaolu")
    assert not holds("I am CodeHearth", "小炉")


def test_losses_are_those_before_and_the_best_after() -> None:
    events = [{"kind": "evaluated", "step": 0, "loss": 5.0}]
    events += [{"kind": "step", "step": n, "loss": 10.0 - n} for n in range(1, 10)]
    events += [{"kind": "evaluated", "step": n, "loss": loss} for n, loss in ((5, 1.0), (9, 2.0))]

    assert losses(events) == {
        "first": 7.0, "last": 3.0, "held_out_before": 5.0, "held_out_after": 1.0,
    }  # fmt: skip
    assert losses([])["held_out_before"] is None


def test_a_second_system_prompt_replaces_the_first() -> None:
    once = with_default_system("T", 'say "hi"\n')

    assert once.endswith("T") and r"say \"hi\"\n" in once
    assert with_default_system(once, "other") == with_default_system("T", "other")
