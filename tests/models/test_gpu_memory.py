"""The prediction of memory against what was measured on an NVIDIA H200 (143771 MiB).

Driver 580.159.04, CUDA 13.0, torch 2.11.0; random weights of the shapes of Qwen2-0.5B (with an
output of its own) and Qwen2-7B in bf16, a training beside them on the same GPU. `python -m
benchmarks.gpu` and `benchmarks.tune_memory` print the same figures.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from codehearth.lab.tuning.memory import predict as predict_training
from codehearth.lab.tuning.recipe import Hyperparameters
from codehearth.models.facts import Weights
from codehearth.models.prediction import prediction_of
from tests.models.test_torch_memory import ASKED, QWEN2_7B

MIB = 1 << 20
QWEN2_HALF = replace(
    QWEN2_7B, num_parameters=630_167_424, num_bytes=2 * 630_167_424, num_layers=24,
    embedding_size=896, num_heads=14, num_kv_heads=2, key_size=64, value_size=64,
    feed_forward_size=4864, vocabulary_size=151_936, kv_elements_by_layer=(2 * 2 * 64,) * 24,
    sliding_layers=(False,) * 24, embedding_bytes=2 * 151_936 * 896,
    output_bytes=2 * 151_936 * 896,
)  # fmt: skip


def on_gpu(weights: Weights, *, streams: int, engine: str = "transformers") -> Any:
    predict = prediction_of(engine, "auto")
    assert predict is not None
    asked = {
        "context_tokens": 192,
        "num_slots": streams,
        "gpu_layers": weights.num_layers + 1,
        "num_gpus": 1,
        "batch_tokens": 512,
    }
    return predict(weights, **ASKED | asked)


@pytest.mark.parametrize(
    ("weights", "streams", "measured_mib"),
    [
        (QWEN2_HALF, 1, 2043),
        (QWEN2_HALF, 8, 2089),
        (QWEN2_HALF, 32, 2251),
        (QWEN2_HALF, 64, 2759),
        (QWEN2_7B, 1, 15389),
        (QWEN2_7B, 8, 15549),
        (QWEN2_7B, 64, 16463),
    ],
)
def test_serving_takes_of_the_gpu_what_was_predicted(
    weights: Weights, streams: int, measured_mib: int
) -> None:
    """Answers of 64 tokens to prompts of 128; as much more as the whole GPU held."""
    predicted = on_gpu(weights, streams=streams).gpu_bytes

    assert -0.08 < predicted / MIB / measured_mib - 1 < 0.12


@pytest.mark.parametrize(("weights", "measured_mib"), [(QWEN2_HALF, 1012), (QWEN2_7B, 1013)])
def test_a_process_on_cuda_weighs_more_than_one_on_the_processor(
    weights: Weights, measured_mib: int
) -> None:
    """431 MiB were predicted and 1013 held: `hearth ps` showed a fifth of what the child took."""
    small_tokenizer = replace(weights, vocabulary_size=4096)

    predicted = on_gpu(small_tokenizer, streams=1).host_bytes / MIB

    assert measured_mib < predicted < 1.1 * measured_mib


@pytest.mark.parametrize("engine", ["vllm", "lmdeploy"])
def test_other_engines_with_pytorch_weigh_as_much_more(engine: str) -> None:
    predict = prediction_of(engine, "auto")
    assert predict is not None

    more = on_gpu(QWEN2_7B, streams=4, engine=engine).host_bytes
    less = predict(QWEN2_7B, **ASKED).overhead_bytes

    assert more - less == 700 * MIB


def test_apples_gpus_have_no_cuda() -> None:
    predict = prediction_of("transformers", "auto")
    assert predict is not None
    metal = ASKED | {"gpu_layers": 29, "num_gpus": 1, "machine": "arm64"}

    more = on_gpu(QWEN2_7B, streams=4).host_bytes - predict(QWEN2_7B, **metal).host_bytes

    assert more == 700 * MIB


@pytest.mark.parametrize(
    ("weights", "precision", "reserved_mib"),
    [(QWEN2_HALF, "bf16", 1624), (QWEN2_HALF, "int4", 1806), (QWEN2_7B, "bf16", 16098)],
)
def test_training_reserves_what_was_predicted(
    weights: Weights, precision: str, reserved_mib: int
) -> None:
    """PyTorch's allocator tells its peak; the context of CUDA is beside it."""
    chosen = Hyperparameters(checkpointing=True) if precision == "bf16" else Hyperparameters()

    parts = predict_training(weights, chosen, precision=precision, device="cuda")

    counted = parts.total_bytes - parts.process_bytes
    assert counted / MIB == pytest.approx(reserved_mib, rel=0.04)
