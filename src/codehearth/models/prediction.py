"""Which prediction of memory holds for which engine. Pure.

llama.cpp's is the planner's own (`memory`). The others compute with PyTorch or as it does
(`torch_memory`), and their processes weigh differently.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from codehearth.models.facts import Weights
from codehearth.models.memory import Footprint, Predict
from codehearth.models.torch_memory import predictor

# More than the transformers worker's process. vLLM: measured, release 0.32 for the CPU with a model
# of a megabyte: server and engine core are two processes with PyTorch each, beside our translator.
_MORE_BYTES = {"vllm": 1100 << 20, "lmdeploy": 1100 << 20, "fastllm": 0}


def prediction_of(engine: str, precision: str) -> Predict | None:
    """How an engine's memory is predicted; None is llama.cpp's way, which the planner has."""
    as_torch = predictor(precision)
    if engine == "transformers":
        return as_torch
    more = _MORE_BYTES.get(engine)
    if more is None:
        return None

    def predict(weights: Weights, **asked: Any) -> Footprint:
        counted = as_torch(weights, **asked)
        return replace(counted, overhead_bytes=counted.overhead_bytes + more)

    return predict
