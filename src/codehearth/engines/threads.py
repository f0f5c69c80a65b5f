"""How an engine computes: threads, how long they spin while they wait, how much at once. Pure."""

from __future__ import annotations

from collections.abc import Mapping

# How often a waiting thread of GNU OpenMP looks again before it sleeps. Measured on 2 cores with
# a 0.5B model, tokens/s on a quiet machine and beside two busy loops: default (300000) 40 and 6-9,
# 0 (always sleep) 26 and 12, 1000 39 and 17-19, 10000 41 and 20 but 11 beside one loop.
SPIN_COUNT = "1000"

# Below this, a second thread waits longer than it computes. On two cores, one thread against two,
# tokens/s of one stream: 1781 and 1439 with 7M parameters, 678 and 740 with 20M, 380 and 410 with
# 40M; first token of 20M after 24 ms and 16. See `benchmarks/threads.py` and RESULTS.md; more than
# two cores were not measured.
_PARAMETERS_OF_A_THREAD = 10_000_000

# A core reads prompts at about so many multiplications and additions a second: 0.5B parameters at
# 178 tokens/s on two (AVX2, Q8_0).
_CORE_OPERATIONS_PER_S = 90e9
_BATCH_TOKENS = (32, 64, 128)  # 32 read a prompt 15-20 % slower than 128, which is as fast as 512
_GPU_BATCH_TOKENS = 512
_BATCH_S = 1.0

# What a child may inherit: where programs and libraries are, its language, its GPUs. Never tokens,
# keys or proxies, and no LLAMA_ARG_*, which would change the command line behind our back.
INHERITED = frozenset(
    {
        "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ",
        "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "XDG_CACHE_HOME",
        "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "CUDA_CACHE_PATH",
        "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HSA_OVERRIDE_GFX_VERSION",
        "GGML_VK_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR", "ZES_ENABLE_SYSMAN",
        "GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "GOMP_CPU_AFFINITY", "OMP_PLACES", "OMP_PROC_BIND",
    }
)  # fmt: skip


def threads_for(num_cores: float, num_physical_cores: int, *, num_parameters: int) -> int:
    """Threads to compute with: as many as cores that are really ours, and no two on one core.

    `num_cores` may be a fraction (a quota); the part of a core is left to the server itself.
    Small models get fewer: their threads would wait for each other longer than they compute.
    """
    whole = max(1, int(num_cores))
    ours = min(whole, num_physical_cores) if num_physical_cores > 0 else whole
    return min(ours, max(1, num_parameters // _PARAMETERS_OF_A_THREAD))


def batch_tokens_for(num_parameters: int, num_threads: int, *, gpu_layers: int = 0) -> int:
    """How many tokens of a prompt to compute at once, so that a batch takes about a second.

    While a batch is computed nobody else gets a token, and a client that left is not noticed.
    """
    if gpu_layers > 0:
        return _GPU_BATCH_TOKENS
    tokens_per_s = _CORE_OPERATIONS_PER_S * max(1, num_threads) / (2 * max(1, num_parameters))
    fitting = [tokens for tokens in _BATCH_TOKENS if tokens <= tokens_per_s * _BATCH_S]
    return max(fitting, default=_BATCH_TOKENS[0])


def child_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child that computes; who has set how threads wait is obeyed."""
    environment = {name: value for name, value in ours.items() if name in INHERITED}
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    return environment
