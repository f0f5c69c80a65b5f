"""How many threads, and what a child may know of us."""

from __future__ import annotations

import pytest

from codehearth.engines.threads import (
    SPIN_COUNT,
    batch_tokens_for,
    child_environment,
    threads_for,
)


@pytest.mark.parametrize(
    ("num_cores", "num_physical_cores", "threads"),
    [
        (1, 1, 1),
        (2, 2, 2),
        (8, 4, 4),  # two threads a core
        (2, 32, 2),  # a container with a quota
        (1.5, 8, 1),
        (0.5, 8, 1),
        (4, 0, 4),  # a system that does not tell
    ],
)
def test_there_are_as_many_threads_as_cores_that_are_ours(
    num_cores: float, num_physical_cores: int, threads: int
) -> None:
    assert threads_for(num_cores, num_physical_cores, num_parameters=7 * 10**9) == threads


@pytest.mark.parametrize(
    ("num_parameters", "threads"), [(7 * 10**6, 1), (4 * 10**7, 4), (10**9, 8)]
)
def test_a_small_model_gets_fewer_threads(num_parameters: int, threads: int) -> None:
    assert threads_for(8, 8, num_parameters=num_parameters) == threads


def test_a_child_inherits_what_it_needs_and_no_secret() -> None:
    ours = {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "1",
        "HF_TOKEN": "secret",
        "OPENAI_API_KEY": "secret",
        "LLAMA_ARG_HOST": "0.0.0.0",
        "LD_PRELOAD": "/tmp/evil.so",
        "https_proxy": "http://me:secret@proxy",
    }

    assert child_environment(ours) == {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "1",
        "GOMP_SPINCOUNT": SPIN_COUNT,
    }


@pytest.mark.parametrize("chosen", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "passive"}])
def test_who_has_chosen_how_threads_wait_is_obeyed(chosen: dict[str, str]) -> None:
    assert child_environment(chosen) == chosen


@pytest.mark.parametrize(
    ("num_parameters", "num_threads", "gpu_layers", "batch_tokens"),
    [
        (3_000_000, 2, 0, 128),
        (500_000_000, 2, 0, 128),
        (7_000_000_000, 2, 0, 32),
        (7_000_000_000, 16, 0, 64),
        (7_000_000_000, 2, 99, 512),
        (0, 0, 0, 128),
    ],
)
def test_a_batch_takes_about_a_second(
    num_parameters: int, num_threads: int, gpu_layers: int, batch_tokens: int
) -> None:
    assert batch_tokens_for(num_parameters, num_threads, gpu_layers=gpu_layers) == batch_tokens
