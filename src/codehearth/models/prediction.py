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

# More than the transformers worker's process. Measured: 998 MiB are resident of vLLM 0.32 for the
# CPU with a model of a megabyte, in two processes with PyTorch each and our translator; LMDeploy's
# is a guess after it. fastllm 1.9 has no PyTorch: 75 MiB with the same model.
_MORE_BYTES = {"vllm": 668 << 20, "lmdeploy": 668 << 20, "fastllm": -(255 << 20)}


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
