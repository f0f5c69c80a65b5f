"""Which prediction of memory holds for which engine. Pure.

llama.cpp's is the planner's own (`memory`). The others compute with PyTorch or as it does
(`torch_memory`), and their processes weigh differently.
"""

from __future__ import annotations

from typing import Any

from codehearth.models import torch_memory
from codehearth.models.facts import Weights
from codehearth.models.memory import Footprint, Predict

# What an engine's process holds before any weights: Python and its libraries. Measured on Linux,
# for the CPU: transformers 5.23 with torch 2.13 once models of 14 and 80 MiB were loaded, less
# these; vLLM 0.32 with a model of a megabyte, in two processes with PyTorch each and our
# translator; fastllm 1.9, which has no PyTorch. LMDeploy's is a guess after vLLM's.
_PROCESS_BYTES = {
    "transformers": 363 << 20,
    "vllm": 998 << 20,
    "lmdeploy": 998 << 20,
    "fastllm": 75 << 20,
}
# What NVIDIA's GPUs add to it on the host: the driver's part of a CUDA context and the kernels that
# PyTorch's build for CUDA brings. Measured on an H200 (driver 580, CUDA 13, torch 2.11): 1013 MiB
# once a model was loaded, of 0.5B parameters and of 7B alike, with a small tokenizer; some 50 more
# are counted for the kernels that the first answers load. vLLM's and LMDeploy's are guesses after
# it; fastllm's was not measured on a GPU.
_ON_CUDA_BYTES = {"transformers": 700 << 20, "vllm": 700 << 20, "lmdeploy": 700 << 20}
_METAL_MACHINE = "arm64"  # as Apple names it; Linux says aarch64
# What its libraries for packed weights hold beside: GPTQModel with what it imports (155 and 160 MiB
# with these models); bitsandbytes' kernels for 8 bits, which are made for every number of rows (124
# and 86). vLLM and LMDeploy have theirs built in.
_METHOD_BYTES = {
    ("transformers", "INT4 (GPTQ)"): 158 << 20,
    ("transformers", "INT8 (GPTQ)"): 158 << 20,
    ("transformers", "INT4 (AWQ)"): 158 << 20,
    ("transformers", "INT8 (BITSANDBYTES)"): 105 << 20,
}


def prediction_of(engine: str, precision: str) -> Predict | None:
    """How an engine's memory is predicted where `precision` was asked for (auto: as the weights
    are); None is llama.cpp's way, which the planner has."""
    process = _PROCESS_BYTES.get(engine)
    if process is None:
        return None

    def predict(weights: Weights, **asked: Any) -> Footprint:
        method = _METHOD_BYTES.get((engine, weights.precision), 0)
        is_on_cuda = (
            asked["gpu_layers"] and asked["num_gpus"] and asked["machine"] != _METAL_MACHINE
        )
        on_cuda = _ON_CUDA_BYTES.get(engine, 0) if is_on_cuda else 0
        return torch_memory.predict(
            weights, precision=precision, process_bytes=process + method + on_cuda, **asked
        )

    return predict
