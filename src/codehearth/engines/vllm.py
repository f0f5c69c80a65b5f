"""vLLM: its own server in an environment of its own, behind our translator (`workers/front.py`).

The engine for many requests at a time and for several GPUs. Its CPU build serves too, and takes
minutes to start. The command lines were tried with release 0.32.0.
"""

from __future__ import annotations

import json
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
from codehearth.engines.tool_formats import tool_format_of
from codehearth.engines.worker import translated, worker_environment
from codehearth.errors import Unsupported

# What the CPU's attention kernels were compiled for.
_CPU_HEAD_SIZES = frozenset({32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512})
_CPU_BLOCK_TOKENS = 128  # keys and values are kept in blocks of so many tokens
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_STORED = {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}
_MOST_GPU_SHARE, _LEAST_GPU_SHARE = 0.95, 0.05
_NGRAMS = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}
_MAX_LORA_RANK = 64  # vLLM lays memory out for it; PEFT's usual ranks are 8 to 64
_MAX_LORAS = 4  # that are computed in one batch, with memory laid out for each


@dataclass(frozen=True)
class Vllm:
    """The engine in the environment `state`; a child gets a part of `ours`."""

    state: State
    ours: dict[str, str] = field(default_factory=dict, repr=False)
    name: str = "vllm"

    @property
    def sees_gpus(self) -> bool:
        return is_for_cuda(self.state)

    @property
    def scores_prompts(self) -> bool:
        return False

    def availability(self) -> Available | Unavailable:
        if isinstance(self.state, Installed):
            facts = self.state.facts
            devices = ", ".join(facts.get("devices") or ("cpu",))
            return Available(f"vllm {self.state.version}, torch {facts.get('torch')}, {devices}")
        if sys.platform != "linux":
            return Unavailable("vLLM runs on Linux only", "llama.cpp and transformers run here")
        return unavailable(self.name, self.state)

    def can_load(self, weights: LoadableWeights) -> str | None:
        if reason := no_checkpoint(self.name, weights):
            return reason
        is_on_cpu = isinstance(self.state, Installed) and not self.sees_gpus
        if is_on_cpu and weights.key_size not in _CPU_HEAD_SIZES:
            sizes = ", ".join(map(str, sorted(_CPU_HEAD_SIZES)))
            return (
                f"vllm on a CPU computes heads of {sizes} numbers, and this model's have "
                f"{weights.key_size}"
            )
        return None

    def command(self, launch: Launch, endpoint: Endpoint) -> Command:
        """Our translator before vLLM's server. Raises Unsupported for what vLLM does not do."""
        assert isinstance(self.state, Installed)
        words, why = arguments(launch, on_gpu=self.sees_gpus)
        server = (str(self.state.python), "-P", "-m", "vllm.entrypoints.openai.api_server")
        argv = translated("vllm", launch, endpoint, (*server, *words))
        environment = worker_environment(self.ours, endpoint) | {
            "VLLM_API_KEY": endpoint.api_key,
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
        }
        if not self.sees_gpus:
            environment |= _on_cpu(launch)
        return Command(argv, environment, why=why)


def _on_cpu(launch: Launch) -> dict[str, str]:
    return {
        # Pinned to cores, threads would wait where others compute there, too.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(launch.num_threads),
        # The first request would wait for a C++ compiler, which there may not be.
        "TORCH_COMPILE_DISABLE": "1",
        # The model in the engine's own process, not in one more: with the executor `uni` below.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }


def arguments(launch: Launch, *, on_gpu: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The arguments of vLLM's server, and why each of those that were chosen. Raises Unsupported.

    `{socket}` is filled in by the translator.
    """
    dtype, why = _dtype(launch, on_gpu=on_gpu)
    parallel = launch.parallel
    if launch.kv_precision != "auto":
        raise Unsupported(
            f"vLLM does not keep keys and values in {launch.kv_precision}.",
            hint="leave kv_precision at auto, or take LMDeploy",
            param="kv_precision",
        )
    words = [
        "--model", str(launch.path.absolute()),
        "--served-model-name", launch.alias,
        "--uds", "{socket}",
        "--max-model-len", str(launch.context_tokens),
        "--max-num-seqs", str(launch.num_slots),
        "--generation-config", "vllm",  # sampling is the house's, not the checkpoint's
        "--enable-prefix-caching",
        "--disable-uvicorn-access-log",
        *dtype,
    ]  # fmt: skip
    if launch.allows_code:
        words.append("--trust-remote-code")
    if calls := tool_format_of(launch.own_template):
        words += ["--enable-auto-tool-choice", "--tool-call-parser", calls.vllm]
        why += (f"calls of tools are read by vLLM's {calls.vllm}: its template shows such",)
    if launch.adapters:
        words += ["--enable-lora", "--max-lora-rank", str(_MAX_LORA_RANK), "--lora-modules"]
        words += [f"{one.name}={one.path.absolute()}" for one in launch.adapters]
        words += ["--max-loras", str(min(len(launch.adapters), _MAX_LORAS))]
    if launch.speculates:
        words += ["--speculative-config", json.dumps(_NGRAMS)]
    if parallel.tensor > 1:
        words += ["--tensor-parallel-size", str(parallel.tensor)]
        why += (f"each layer on {parallel.tensor} GPUs",)
    if parallel.pipeline > 1:
        words += ["--pipeline-parallel-size", str(parallel.pipeline)]
        why += (f"the layers on {parallel.pipeline} stages",)
    if parallel.over_ray:
        words += ["--distributed-executor-backend", "ray"]
        why += ("GPUs of the Ray cluster",)
    memory, why_memory = _memory(launch, on_gpu=on_gpu)
    return (*words, *memory), why + why_memory


def _memory(launch: Launch, *, on_gpu: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How much memory it takes at once, and on a CPU how it starts sooner."""
    if on_gpu:
        if not launch.gpu_share:
            return (), ()
        share = min(_MOST_GPU_SHARE, max(_LEAST_GPU_SHARE, launch.gpu_share))
        words = ("--gpu-memory-utilization", f"{share:.3f}")
        return words, (f"{share:.0%} of the GPUs' memory: as it was planned",)
    batch = max(launch.batch_tokens, launch.num_slots)
    kv_bytes = _in_whole_blocks(launch)
    is_shared = launch.parallel.tensor * launch.parallel.pipeline > 1
    return (
        "--enforce-eager",
        *(() if is_shared else ("--distributed-executor-backend", "uni")),
        "--max-num-batched-tokens", str(batch),
        *(("--kv-cache-memory-bytes", str(kv_bytes)) if kv_bytes else ()),
    ), (f"{launch.num_threads} threads", "nothing compiled: it starts minutes sooner")  # fmt: skip


def _in_whole_blocks(launch: Launch) -> int:
    """The bytes for keys and values where each slot takes whole blocks, and one is vLLM's own."""
    blocks = -(-launch.context_tokens // _CPU_BLOCK_TOKENS) * launch.num_slots + 1
    tokens = launch.context_tokens * launch.num_slots
    return launch.kv_bytes * blocks * _CPU_BLOCK_TOKENS // max(1, tokens)


def _dtype(launch: Launch, *, on_gpu: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What it computes in: the user's word, else as the weights are stored."""
    asked = launch.precision
    if asked in ("int8", "int4"):
        raise Unsupported(
            f"vLLM does not make {asked} of weights as they are loaded.",
            hint="take a checkpoint that is quantised (GPTQ, AWQ), or the engine transformers",
            param="precision",
        )
    if asked in _DTYPES:
        return ("--dtype", _DTYPES[asked]), ()
    stored = _STORED.get(launch.stored_precision)
    if stored is None:
        return ("--dtype", "auto"), ()
    if stored == "fp16" and not on_gpu:
        return ("--dtype", "bfloat16"), ("bf16: a CPU computes it faster than the weights' fp16",)
    return ("--dtype", _DTYPES[stored]), (f"{stored}: as the weights are stored",)
