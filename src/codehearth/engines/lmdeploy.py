"""LMDeploy: its own API server in an environment of its own, behind our translator.

Runs on NVIDIA's GPUs only. The command line is held against the parser of release 0.18.0; its
process was never started here, for want of a GPU.
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
    no_checkpoint,
)
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.installed import Installed, State, unavailable
from codehearth.engines.tool_formats import tool_format_of
from codehearth.engines.worker import translated, worker_environment
from codehearth.errors import Unsupported

_DTYPES = {"bf16": "bfloat16", "fp16": "float16"}
_KV_POLICIES = {"auto": "none", "int8": "int8", "int4": "int4"}
_MOST_CACHE_SHARE = 0.95

Backend = Literal["turbomind", "pytorch"]


@dataclass(frozen=True)
class Lmdeploy:
    """The engine in the environment `state`; a child gets a part of `ours`."""

    state: State
    ours: dict[str, str] = field(default_factory=dict, repr=False)
    name: str = "lmdeploy"

    @property
    def sees_gpus(self) -> bool:
        return True

    @property
    def scores_prompts(self) -> bool:
        return False

    def availability(self) -> Available | Unavailable:
        if not isinstance(self.state, Installed):
            needs = "it needs an NVIDIA GPU and Linux (it has no CPU path), and it "
            missing = unavailable(self.name, self.state)
            reason = needs + missing.reason.removeprefix("it ")
            return Unavailable(reason, f"{missing.hint} where there is such a GPU")
        gpus = self.state.facts.get("devices") or ()
        if not gpus:
            return Unavailable(
                "it has no CPU path, and its PyTorch sees no GPU here",
                "vllm and transformers run on a CPU",
            )
        return Available(f"lmdeploy {self.state.version}, {', '.join(gpus)}")

    def can_load(self, weights: LoadableWeights) -> str | None:
        return no_checkpoint(self.name, weights)

    def command(self, launch: Launch, endpoint: Endpoint) -> Command:
        """Our translator before LMDeploy's server. Raises Unsupported for what it does not do.

        It listens on a port of the loopback, and takes its key as an argument only: other users of
        this machine can read that one, so it is another key than the house's (`{key}`).
        """
        assert isinstance(self.state, Installed)
        words, why = arguments(launch)
        program = (str(self.state.python), "-P", "-m", "lmdeploy", *words)
        argv = translated("lmdeploy", launch, endpoint, program)
        environment = worker_environment(self.ours, endpoint) | {
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
        }
        return Command(argv, environment, why=why)


def arguments(launch: Launch) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The arguments of `lmdeploy`, and why each of those that were chosen. Raises Unsupported.

    `{port}` and `{key}` are filled in by the translator.
    """
    if launch.precision in ("int8", "int4", "fp32"):
        raise Unsupported(
            f"LMDeploy does not make {launch.precision} of weights as they are loaded.",
            hint="take a checkpoint that is quantised (AWQ, GPTQ), or the engine transformers",
            param="precision",
        )
    if launch.speculates:
        raise Unsupported(
            "LMDeploy guesses tokens with a draft model only.",
            hint="vLLM and llama.cpp guess them from what was written",
            param="speculate",
        )
    parallel = launch.parallel
    if parallel.pipeline > 1 or parallel.over_ray:
        raise Unsupported(
            "LMDeploy is started here on the GPUs of one machine.",
            hint="vLLM shares a model among machines",
            param="pipeline_parallel",
        )
    backend = _backend(launch)
    dtype = _DTYPES.get(launch.precision, "auto")
    words = [
        "serve", "api_server", str(launch.path.absolute()),
        "--model-name", launch.alias,
        "--server-name", "127.0.0.1",
        "--server-port", "{port}",
        "--api-keys", "{key}",
        "--backend", backend,
        "--dtype", dtype,
        "--tp", str(parallel.tensor),
        "--session-len", str(launch.context_tokens),
        "--max-batch-size", str(launch.num_slots),
        "--quant-policy", _KV_POLICIES[launch.kv_precision],
        "--generation-config", "lmdeploy",  # sampling is the house's, not the checkpoint's
        "--enable-prefix-caching",
        "--enable-abort-handling",
        "--disable-fastapi-docs",
        "--max-log-len", "0",
    ]  # fmt: skip
    if launch.gpu_share:
        share = min(_MOST_CACHE_SHARE, launch.gpu_share)
        words += ["--cache-max-entry-count", f"{share:.3f}"]
    if launch.allows_code:
        words.append("--trust-remote-code")
    calls = tool_format_of(launch.own_template)
    if calls and calls.lmdeploy:
        words += ["--tool-call-parser", calls.lmdeploy]
    if launch.adapters:
        pairs = (f"{one.name}={one.path.absolute()}" for one in launch.adapters)
        words += ["--adapters", *pairs]
    why: tuple[str, ...] = (f"LMDeploy's {backend} engine",)
    if parallel.tensor > 1:
        why += (f"each layer on {parallel.tensor} GPUs",)
    if launch.kv_precision != "auto":
        why += (f"keys and values in {launch.kv_precision}",)
    return tuple(words), why


def _backend(launch: Launch) -> Backend:
    """TurboMind is the faster one, and goes over to PyTorch for families that it does not know.

    Adapters are PyTorch's alone.
    """
    return "pytorch" if launch.adapters else "turbomind"
