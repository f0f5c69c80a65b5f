"""fastllm: our worker around its Python library, in an environment of its own.

For checkpoints in float16, int8 and int4 on a CPU or a GPU. Tried with ftllm 1.9.0 on a CPU.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from codehearth.engines.base import (
    Available,
    Command,
    Launch,
    LoadableWeights,
    Unavailable,
    no_checkpoint,
)
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.installed import Installed, State, is_for_cuda, unavailable
from codehearth.engines.worker import loading, started, worker_environment
from codehearth.errors import Unsupported

_DTYPES = {"auto": "float16", "fp16": "float16", "int8": "int8", "int4": "int4"}
# With heads of 16 and 32 numbers answers changed from one asking to the next; with 64 they did not.
_HEAD_NUMBERS = 64
_FAMILIES = frozenset(
    {"llama", "mistral", "qwen", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "chatglm", "baichuan"}
    | {"internlm2", "minicpm", "deepseek_v2", "deepseek_v3", "phi3", "glm4"}
)


@dataclass(frozen=True)
class Fastllm:
    """The engine in the environment `state`; a child gets a part of `ours`."""

    state: State
    ours: dict[str, str] = field(default_factory=dict, repr=False)
    name: str = "fastllm"

    @property
    def sees_gpus(self) -> bool:
        return is_for_cuda(self.state)

    @property
    def scores_prompts(self) -> bool:
        return False

    def availability(self) -> Available | Unavailable:
        if isinstance(self.state, Installed):
            return Available(f"ftllm {self.state.version}, {self.state.device}")
        if sys.platform != "linux":
            return Unavailable("its wheels are for Linux only", "llama.cpp runs here")
        return unavailable(self.name, self.state)

    def can_load(self, weights: LoadableWeights) -> str | None:
        if reason := no_checkpoint(self.name, weights):
            return reason
        if weights.architecture not in _FAMILIES:
            return f"fastllm does not know the architecture {weights.architecture}"
        if weights.key_size % _HEAD_NUMBERS:
            return (
                f"fastllm computes heads of {_HEAD_NUMBERS} numbers and their multiples, and this "
                f"model's have {weights.key_size}"
            )
        if not weights.output_bytes:
            return (
                "fastllm needs an output matrix of its own, and this checkpoint ties it to the "
                "embedding"
            )
        return None

    def command(self, launch: Launch, endpoint: Endpoint) -> Command:
        """Our worker under the environment's Python. Raises Unsupported for other precisions."""
        assert isinstance(self.state, Installed)
        dtype = _DTYPES.get(launch.precision)
        if dtype is None:
            raise Unsupported(
                f"fastllm does not compute in {launch.precision}.",
                hint=f"it knows {', '.join(_DTYPES)}",
                param="precision",
            )
        if launch.adapters:
            raise Unsupported(
                "fastllm takes no adapters beside a model.",
                hint="merge the adapter, or take transformers or vLLM",
                param="adapters",
            )
        on_gpu = launch.gpu_layers > 0 and self.sees_gpus
        argv = (
            *started(self.state.python, "fastllm"),
            *loading(launch, endpoint),
            "--device", "cuda" if on_gpu else "cpu",
            "--dtype", dtype,
        )  # fmt: skip
        environment = worker_environment(self.ours, endpoint)
        why = f"{dtype}: what it computes in unless asked" if launch.precision == "auto" else dtype
        return Command(argv, environment, why=(f"{launch.num_threads} threads", why))
