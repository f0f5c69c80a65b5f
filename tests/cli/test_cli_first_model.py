"""Which model a newcomer is offered; and prompts in files."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.cli.first_model import MIN_TOKENS_PER_S, best_first_model, is_suitable
from codehearth.cli.prompts_file import in_order, parse_prompts
from codehearth.errors import InvalidRequest
from codehearth.models.catalogue import catalogue
from codehearth.models.hardware import Gpu, Hardware

GIB = 2**30


def machine(*, gib: float, cores: int = 4, gpu_gib: float = 0) -> Hardware:
    memory = int(gib * GIB)
    gpus = (Gpu(0, "GPU", "cuda", int(gpu_gib * GIB), int(gpu_gib * GIB)),) if gpu_gib else ()
    return Hardware("Linux", "x86_64", "CPU", float(cores), cores, memory, memory, gpus)


@pytest.mark.parametrize(
    ("hardware", "name"),
    [
        (machine(gib=3, cores=2), "qwen2.5-coder-1.5b"),
        (machine(gib=8), "qwen2.5-coder-7b"),
        (machine(gib=64, cores=8), "qwen3-coder-30b-a3b"),
        (machine(gib=16, cores=8, gpu_gib=24), "qwen3-coder-30b-a3b"),
    ],
)
def test_each_machine_gets_a_model_of_its_size(hardware: Hardware, name: str) -> None:
    best = best_first_model(catalogue().values(), hardware)

    assert best is not None
    assert best.row.name == name
    assert best.tokens_per_s >= MIN_TOKENS_PER_S


def test_the_choice_says_why() -> None:
    best = best_first_model(catalogue().values(), machine(gib=8))

    assert best is not None
    assert "HumanEval" in best.why[0]
    assert "tokens a second" in " ".join(best.why)
    assert any("precision" in reason for reason in best.why)


def test_a_machine_without_memory_gets_none() -> None:
    assert best_first_model(catalogue().values(), machine(gib=0.2)) is None


@given(st.floats(0.5, 256), st.integers(1, 128))
def test_more_memory_never_means_a_model_that_does_not_fit(gib: float, cores: int) -> None:
    hardware = machine(gib=gib, cores=cores)

    best = best_first_model(catalogue().values(), hardware)

    if best is not None:
        assert is_suitable(best.row)
        assert best.fit.plan.footprint.total_bytes <= hardware.free_bytes


def test_a_prompt_a_line_or_json_lines() -> None:
    plain = parse_prompts("one\r\n\n  two \n")
    lines = parse_prompts('\n{"prompt": "a\\nb", "id": 7}\n{"prompt": "c", "system": "s"}\n')

    assert [(prompt.number, prompt.text) for prompt in plain] == [(1, "one"), (2, "two")]
    assert [(prompt.text, prompt.system, prompt.id) for prompt in lines] == [
        ("a\nb", None, 7),
        ("c", "s", None),
    ]


def test_a_line_that_begins_like_json_is_a_prompt_in_a_plain_file() -> None:
    assert [prompt.text for prompt in parse_prompts('{"a": 1}\nplain')] == ['{"a": 1}', "plain"]


@given(st.text())
def test_no_file_of_prompts_is_a_mistake_of_ours(text: str) -> None:
    try:
        prompts = parse_prompts(text)
    except InvalidRequest:
        return

    assert [prompt.number for prompt in prompts] == list(range(1, len(prompts) + 1))
    assert all(prompt.text.strip() for prompt in prompts)


def test_work_is_done_side_by_side_and_given_back_in_order() -> None:
    """The first waits for the last, so they must all be under way at once."""
    barrier = threading.Barrier(4)

    def work(item: int) -> int:
        barrier.wait(60)
        return item * item

    assert list(in_order(work, range(4), num_workers=4)) == [0, 1, 4, 9]


def test_no_more_than_that_many_are_under_way() -> None:
    lock = threading.Lock()
    now = most = 0

    def work(item: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        with lock:
            now -= 1
        return item

    assert list(in_order(work, range(50), num_workers=3)) == list(range(50))
    assert most <= 3


def test_an_error_is_raised_at_its_turn_and_the_rest_is_left() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    results = in_order(work, range(1000), num_workers=1)

    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
