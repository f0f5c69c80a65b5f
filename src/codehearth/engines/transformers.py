"""Hugging Face checkpoints with PyTorch: our worker in an environment of its own.

The slower engine for what llama.cpp reads too; the one that reads everything else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from codehearth.engines.base import (
    Available,
    Command,
    Launch,
    LoadableWeights,
    Unavailable,
    not_generating,
)
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.installed import Installed, State, unavailable
from codehearth.engines.worker import loading, started, worker_environment

INSTALL = "`hearth engines install transformers`"

# What release 5.23 reads out of GGUF files; they are dequantised as they are loaded.
_GGUF_ARCHITECTURES = frozenset(
    {"llama", "mistral", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "phi3", "gemma2", "gemma3"}
    | {"starcoder2", "gpt2", "stablelm", "falcon", "bloom"}
)
_PACKED = ("GPTQ", "AWQ")

Dtype = Literal["bf16", "fp16", "fp32"]


@dataclass(frozen=True)
class Transformers:
    """The engine in the environment `state`; a child gets a part of `ours`."""

    state: State
    ours: dict[str, str] = field(default_factory=dict, repr=False)
    name: str = "transformers"

    @property
    def sees_gpus(self) -> bool:
        return len(self._facts("devices")) > 1

    @property
    def scores_prompts(self) -> bool:
        return True

    def availability(self) -> Available | Unavailable:
        match self.state:
            case Installed(version=version, facts=facts):
                devices = ", ".join(self._facts("devices")) or "cpu"
                return Available(f"transformers {version}, torch {facts.get('torch')}, {devices}")
            case missing:
                return unavailable(self.name, missing)

    def can_load(self, weights: LoadableWeights) -> str | None:
        if reason := not_generating(self.name, weights):
            return reason
        if weights.kind == "gguf":
            if weights.architecture in _GGUF_ARCHITECTURES:
                return None
            return (
                f"transformers does not read GGUF files of the architecture {weights.architecture}"
            )
        if weights.architecture == "chatglm":
            return (
                "the code that ChatGLM checkpoints bring does not run in transformers 5; "
                "`hearth quantize` makes a GGUF of them without it, which llama.cpp serves"
            )
        packing = next((name for name in _PACKED if f"({name})" in weights.precision), None)
        if packing and self._is_installed and "gptqmodel" not in self._facts("quantisers"):
            return (
                f"weights packed by {packing} need the package gptqmodel beside transformers: "
                "`hearth engines install transformers --with gptq`"
            )
        return None

    def command(self, launch: Launch, endpoint: Endpoint) -> Command:
        """Our worker under the environment's Python, with the key in its environment."""
        assert isinstance(self.state, Installed)
        on_gpu = launch.gpu_layers > 0 and self.sees_gpus
        dtype, why = dtype_for(launch.precision, launch.stored_precision, on_gpu=on_gpu)
        is_quantised = launch.precision in ("int8", "int4")
        argv = (
            *started(self.state.python, "transformers"),
            *loading(launch, endpoint),
            "--batch-tokens", str(launch.batch_tokens),
            "--device", "gpu" if on_gpu else "cpu",
            "--dtype", dtype,
            *(("--quantise", launch.precision) if is_quantised else ()),
            *(("--allow-code",) if launch.allows_code else ()),
            *(word for adapter in launch.adapters for word in ("--adapter", str(adapter.path))),
            *(("--chat-template", str(launch.chat_template)) if launch.chat_template else ()),
        )  # fmt: skip
        environment = worker_environment(self.ours, endpoint) | {
            "TQDM_DISABLE": "1",
            # GPTQModel waits for ever where it has more workers than there are cores.
            "GPTQMODEL_CPU_WORKERS": str(max(2, launch.num_threads)),
            # oneDNN keeps 1024 kernels unless told: with packed int8, which needs one for every
            # number of rows, 595 MiB instead of 503 after some requests, and no faster.
            "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
        }
        return Command(argv, environment, why=(f"{launch.num_threads} threads", *why))

    @property
    def can_quantise(self) -> bool:
        """Whether it makes int8 and int4 as it loads."""
        return "bitsandbytes" in self._facts("quantisers")

    @property
    def _is_installed(self) -> bool:
        return isinstance(self.state, Installed)

    def _facts(self, name: str) -> tuple[str, ...]:
        facts = self.state.facts if isinstance(self.state, Installed) else {}
        return tuple(facts.get(name) or ())


def cannot_make(precision: str, weights: LoadableWeights) -> str | None:
    """Why a precision that is made at load is not made of these weights; None where it is.

    transformers unpacks GGUF files as it reads them, and then quantises nothing.
    """
    if weights.kind == "gguf" and precision in ("int8", "int4"):
        return f"transformers makes {precision} of checkpoints only, not of GGUF files"
    return None


def dtype_for(asked: str, stored: str, *, on_gpu: bool) -> tuple[Dtype, tuple[str, ...]]:
    """What is computed in, and why where it was chosen. A GPU without bf16 gets fp16 later.

    `asked` is the user's word, `stored` the type of the tensors as `Weights.precision` names it.
    On a CPU fp16 is no choice: it read a prompt 9 times slower than bf16 (AVX-512, torch 2.13).
    """
    match asked:
        case "bf16" | "fp16" | "fp32":
            return asked, ()
        case "int8" | "int4":
            return "bf16", (f"{asked} made as it is loaded, computed in bf16",)
    if stored == "F32":
        return "fp32", ("fp32: as the weights are stored",)
    if stored == "F16" and on_gpu:
        return "fp16", ("fp16: as the weights are stored",)
    if stored == "F16":
        return "bf16", ("bf16: a CPU computes it many times faster than the fp16 of the weights",)
    if stored == "BF16":
        return "bf16", ("bf16: as the weights are stored",)
    return "bf16", (f"bf16: what {stored} weights are computed in",)
