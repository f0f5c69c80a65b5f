"""llama.cpp from the `xllamacpp` wheel: the engine that comes with the base install."""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass, field

from codehearth.engines.base import (
    Available,
    Command,
    Launch,
    LoadableWeights,
    Unavailable,
)
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.worker import WORKERS, loading, worker_environment

_MEASURED = "2026.10.11549"


@dataclass(frozen=True)
class LlamaCpp:
    """The embedded engine; a child gets a part of `ours`, this process's environment."""

    ours: dict[str, str] = field(default_factory=dict, repr=False)
    name: str = "llama.cpp"

    @property
    def sees_gpus(self) -> bool:
        return sys.platform == "darwin"  # the wheel knows Metal, and not CUDA

    @property
    def scores_prompts(self) -> bool:
        return False

    def availability(self) -> Available | Unavailable:
        try:
            version = importlib.metadata.version("xllamacpp")
        except importlib.metadata.PackageNotFoundError:
            return Unavailable(
                reason="the package xllamacpp is not installed",
                hint=f"`pip install xllamacpp=={_MEASURED}`, or install a llama-server",
            )
        return Available(f"xllamacpp {version}")

    def can_load(self, weights: LoadableWeights) -> str | None:
        return None if weights.kind == "gguf" else "llama.cpp reads GGUF files only"

    def command(self, launch: Launch, endpoint: Endpoint) -> Command:
        """Our worker with `launch` as arguments and the key in its environment."""
        argv = (
            sys.executable, "-P", "-u", str(WORKERS / "llamacpp.py"),
            *loading(launch, endpoint),
            "--gpu-layers", str(launch.gpu_layers),
            "--batch-tokens", str(launch.batch_tokens),
            "--prompt-cache-mib", str(launch.prompt_cache_bytes >> 20),
            *(("--embedding",) if launch.is_embedding else ()),
            *(() if launch.mapped else ("--read-weights",)),
            *(word for adapter in launch.adapters for word in ("--lora", str(adapter.path))),
            *(("--chat-template", str(launch.chat_template)) if launch.chat_template else ()),
        )  # fmt: skip
        environment = worker_environment(self.ours, endpoint)
        return Command(argv, environment, why=(f"{launch.num_threads} threads",))
