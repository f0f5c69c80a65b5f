"""How a model is shared among GPUs, and what other engines' processes weigh."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codehearth.models.gpus import Gpu
from codehearth.models.hardware import snapshot
from codehearth.models.memory import Footprint
from codehearth.models.parallel import gpu_share_of, tensor_parallel_for
from codehearth.models.prediction import prediction_of


@pytest.mark.parametrize(
    ("num_gpus", "num_heads", "among"),
    [(0, 32, 1), (1, 32, 1), (4, 32, 4), (3, 32, 2), (8, 28, 7), (5, 7, 1), (2, 14, 2)],
)
def test_layers_are_cut_among_the_most_gpus_that_divide_the_heads(
    num_gpus: int, num_heads: int, among: int
) -> None:
    assert tensor_parallel_for(num_gpus, num_heads) == among


def test_the_share_is_what_was_planned_of_all_gpus() -> None:
    gpu = Gpu(0, "a GPU", "cuda", total_bytes=40, free_bytes=40)
    footprint = Footprint(10, 5, 3, 2, gpu_bytes=20)

    assert gpu_share_of(footprint, replace(snapshot(), gpus=(gpu, gpu))) == 0.25
    assert gpu_share_of(footprint, replace(snapshot(), gpus=())) == 0.0


@pytest.mark.parametrize(
    ("engine", "has_one"),
    [("llama.cpp", False), ("llama-server", False), ("transformers", True), ("vllm", True)],
)
def test_llama_cpps_memory_is_the_planners_own(engine: str, has_one: bool) -> None:
    assert (prediction_of(engine, "auto") is not None) is has_one
