"""How many threads an engine computes with, and how long they spin while they wait. Pure."""

from __future__ import annotations

from collections.abc import Mapping

# How often a waiting thread of GNU OpenMP looks again before it sleeps. Measured on 2 cores with
# a 0.5B model, tokens/s on a quiet machine and beside two busy loops: default (300000) 40 and 6-9,
# 0 (always sleep) 26 and 12, 1000 39 and 17-19, 10000 41 and 20 but 11 beside one loop.
SPIN_COUNT = "1000"

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


def threads_for(num_cores: float, num_physical_cores: int) -> int:
    """Threads to compute with: as many as cores that are really ours, and no two on one core.

    `num_cores` may be a fraction (a quota); the part of a core is left to the server itself.
    """
    whole = max(1, int(num_cores))
    return min(whole, num_physical_cores) if num_physical_cores > 0 else whole


def child_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child that computes; who has set how threads wait is obeyed."""
    environment = {name: value for name, value in ours.items() if name in INHERITED}
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    return environment
