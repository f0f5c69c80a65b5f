"""What a model would take under each engine in each precision, side by side. Pure.

One context and one number of slots for all rows, so that they can be compared; which of them run
here, and read the model's files, `engines` knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from codehearth.errors import DoesNotFit
from codehearth.models.estimate import at_precision
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.planning import COMFORTABLE_CONTEXT_TOKENS, Plan, plan
from codehearth.models.precisions import BITS_PER_WEIGHT, same
from codehearth.models.prediction import prediction_of

# The precisions that an engine is asked for most; llama.cpp's are files of their own.
ENGINE_PRECISIONS: Mapping[str, tuple[str, ...]] = {
    "llama.cpp": ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k"),
    "transformers": ("bf16", "int8", "int4"),
    "vllm": ("bf16",),
    "lmdeploy": ("bf16",),
    "fastllm": ("fp16", "int8", "int4"),
}
CUDA_ONLY = frozenset({"lmdeploy"})


@dataclass(frozen=True)
class EngineFit:
    """One row. Where it does not fit, `total_bytes` is what it needs and `fits` is false, as where
    it `lacks_gpu`."""

    engine: str
    precision: str
    weights_bytes: int
    kv_bytes: int
    total_bytes: int
    gpu_bytes: int
    fits: bool
    lacks_gpu: bool = False  # it has no other way than NVIDIA's GPUs, and none is here

    def as_document(self) -> dict[str, Any]:
        return asdict(self)


def fit_table(
    weights: Weights,
    hardware: Hardware,
    *,
    context_tokens: int | None = None,
    num_slots: int | None = None,
) -> tuple[EngineFit, ...]:
    """Every engine and precision, llama.cpp's own first and none finer than the weights are."""
    context = context_tokens or min(weights.context_tokens, COMFORTABLE_CONTEXT_TOKENS)
    return tuple(
        _row(weights, hardware, engine, precision, context, num_slots or 1)
        for engine, precision in _rows(weights)
    )


def _rows(weights: Weights) -> Iterator[tuple[str, str]]:
    for engine, precisions in ENGINE_PRECISIONS.items():
        if engine == "llama.cpp" and weights.kind == "gguf":
            yield engine, weights.precision.lower()
        for precision in precisions:
            is_coarser = BITS_PER_WEIGHT[precision] <= weights.bits_per_weight + 0.1
            is_own = weights.kind == "gguf" and same(weights.precision, precision)
            if engine != "llama.cpp" or (is_coarser and not is_own):
                yield engine, precision


def _row(
    weights: Weights,
    hardware: Hardware,
    engine: str,
    precision: str,
    context_tokens: int,
    num_slots: int,
) -> EngineFit:
    predict = prediction_of(engine, precision)
    if predict is None and not same(weights.precision, precision):
        weights = replace(at_precision(weights, precision), kind="gguf")

    def planned(on: Hardware) -> Plan:
        return plan(
            weights,
            on,
            context_tokens=context_tokens,
            num_slots=num_slots,
            predict_for_engine=predict,
        )

    try:
        found, fits = planned(hardware), True
    except DoesNotFit:
        found, fits = planned(_endless(hardware)), False
    lacks_gpu = engine in CUDA_ONLY and not any(gpu.kind == "cuda" for gpu in hardware.gpus)
    footprint = found.footprint
    return EngineFit(
        engine,
        precision,
        footprint.weights_bytes,
        footprint.kv_bytes,
        footprint.total_bytes,
        footprint.gpu_bytes,
        fits and not lacks_gpu,
        lacks_gpu,
    )


def _endless(hardware: Hardware) -> Hardware:
    """The machine with all the memory that anything could need."""
    return replace(hardware, free_bytes=1 << 60, gpus=())
