"""Serves one GGUF model with llama.cpp's own HTTP server, from the `xllamacpp` wheel.

A child of the house, started by `engines/llamacpp.py`; the key comes in HEARTH_ENGINE_KEY, because
everybody may read a process's arguments. It ends when it is told to (SIGTERM has its default
meaning: at once) or when its model cannot be loaded (exit code 1, the cause is on standard error).

What is set otherwise than llama.cpp's default, and why. Measured with release 2026.10.11549:

- `ctx_shift` off (as now is the default): a full context ends with finish_reason "length" instead
  of forgetting the start of the conversation.
- `kv_unified` off, `n_ctx` = context × slots: each slot has its whole context, whatever the
  others do. Unified slots take from one another.
- `fit_params` off: the house has planned context and layers against what is free; a second
  opinion that silently loads something else would make the plan untrue.
- `cache_ram_mib` (8 GiB) as told, 0 unless somebody planned it: memory that the plan does not
  know. The prompts of all slots stay cached without it. `n_ctx_checkpoints` 32 → 4 for the same
  reason (sliding-window and recurrent models).
- `n_batch` = `n_ubatch` = as told, not 2048 and 512: a client that leaves while its prompt is read
  is noticed between batches (3 s with 2048 tokens, 0.2 s with 128, 0.07 s with 32, 8 layers of
  512 on one thread), and all other users wait for a batch. On a CPU 128 tokens at once are read
  as fast as 512 (0.5B model on 2 busy cores: 63-66 tokens/s against 56-61; 64: 58-62, 32: 49-53)
  and take 26 MiB less. Embedding models must see an input in one batch: theirs is the context.
- `ui`, `endpoint_slots` off, `cors_origins` empty: nobody but the house speaks to it; slots
  show other users' sampling settings. `endpoint_metrics` on: only that route shows that the
  decoding loop moves.
- `verbosity` 3 → 2: eight lines for each request otherwise; errors stay.
- `offline` on: a model is loaded from where it lies and nothing else is fetched.
- `load_mode` none instead of mmap where the plan says so: a CPU lays some types out anew (Q4_K,
  Q4_0 …), and a mapped file stays in memory beside the copy: 407 MiB against 322 for 150 MiB of
  weights.

Left as they are, on purpose: continuous batching, flash attention "auto", jinja templates,
reasoning apart from content (deepseek's form), warm-up (one empty pass, some 50 ms for a 0.5B
model; without it the first user pays), no speculation.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

KEY_VARIABLE = "HEARTH_ENGINE_KEY"
EXIT_NOT_LOADED = 1

_MAX_CHECKPOINTS = 4
_WARNINGS = 2
_LOG_NEEDS_S = 0.3


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hearth-llamacpp", allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--socket", required=True, help="ends in .sock")
    parser.add_argument("--context-tokens", type=int, required=True, help="of each slot")
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--gpu-layers", type=int, default=0)
    parser.add_argument("--batch-tokens", type=int, default=512)
    parser.add_argument("--prompt-cache-mib", type=int, default=0)
    parser.add_argument("--embedding", action="store_true")
    parser.add_argument("--read-weights", action="store_true", help="do not map the file")
    parser.add_argument("--chat-template", help="a file, instead of the model's own")
    parser.add_argument("--lora", action="append", default=[], help="an adapter; may be several")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    asked = parse_arguments(arguments)
    key = os.environ.pop(KEY_VARIABLE, "")
    if not key:
        print(f"error: {KEY_VARIABLE} is not set", file=sys.stderr)  # noqa: T201
        return 2
    import xllamacpp

    params = xllamacpp.CommonParams()
    set_params(params, asked, key)
    try:
        server = xllamacpp.Server(params)
    except (RuntimeError, ValueError, MemoryError) as error:
        # The cause is in llama.cpp's log. Its threads may not end, so leave at once.
        _finish_log(xllamacpp.xllamacpp.__file__)
        print(f"worker: not serving: {error}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(EXIT_NOT_LOADED)
    print(f"worker: serving at {server.listening_address}", file=sys.stderr, flush=True)  # noqa: T201
    while True:
        signal.pause()


def _finish_log(library: str) -> None:
    """Wait until llama.cpp's log is written: by a thread of its own, which no exit waits for.

    Without this the cause of a failed load was missing now and then. The wheel exports the
    function that stops that thread after its last line; should it be gone, time must do.
    """
    try:
        exported = ctypes.CDLL(library)
        exported._Z15common_log_mainv.restype = ctypes.c_void_p
        log = ctypes.c_void_p(exported._Z15common_log_mainv())
        exported._Z16common_log_pauseP10common_log(log)
    except (OSError, AttributeError):
        time.sleep(_LOG_NEEDS_S)


def set_params(params: object, asked: argparse.Namespace, key: str) -> None:
    """Fill llama.cpp's parameters; an attribute that this release lacks raises AttributeError."""
    batch_tokens = asked.context_tokens if asked.embedding else asked.batch_tokens
    chosen = {
        "model_alias": {asked.alias},
        "hostnames": [asked.socket],
        "api_keys": [key],
        "n_ctx": asked.context_tokens * asked.slots,
        "n_parallel": asked.slots,
        "kv_unified": False,
        "ctx_shift": False,
        "cont_batching": True,
        "n_batch": batch_tokens,
        "n_ubatch": batch_tokens,
        "n_gpu_layers": asked.gpu_layers,
        "fit_params": False,
        "cache_ram_mib": asked.prompt_cache_mib,
        "cache_idle_slots": asked.prompt_cache_mib > 0,
        "n_ctx_checkpoints": _MAX_CHECKPOINTS,
        "embedding": asked.embedding,
        "use_jinja": True,
        "warmup": True,
        "n_threads_http": asked.slots + 4,
        "ui": False,
        "endpoint_slots": False,
        "endpoint_props": False,
        "endpoint_metrics": True,
        "cors_origins": "",
        "cors_origins_explicit": True,
        "cors_credentials": False,
        "verbosity": _WARNINGS,
        "offline": True,
    }
    for name, value in chosen.items():
        if not hasattr(params, name):
            raise AttributeError(f"this release of xllamacpp has no parameter {name}")
        setattr(params, name, value)
    params.model.path = asked.model  # type: ignore[attr-defined]
    if asked.read_weights:
        import xllamacpp

        params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE  # type: ignore[attr-defined]
    if asked.chat_template:
        template = Path(asked.chat_template).read_text(encoding="utf-8")
        params.chat_template = template  # type: ignore[attr-defined]
    if asked.lora:
        import xllamacpp

        params.lora_adapters = [  # type: ignore[attr-defined]
            xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in asked.lora
        ]
        params.lora_init_without_apply = len(asked.lora) > 1  # type: ignore[attr-defined]
    for threads in (params.cpuparams, params.cpuparams_batch):  # type: ignore[attr-defined]
        threads.n_threads = asked.threads


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
