"""A native `llama-server`: found on PATH or named, and used instead of the wheel.

It is worth choosing because it is built for this machine: against the wheel (AVX2) a build for
AVX-512 read prompts 1.3 times as fast and decoded 8 streams 1.26 times as fast; and it may know a
GPU. Its options change with its releases, so they are read from `--help`: what it does not know
is left out where it is a nicety, and the server is not taken where we depend on it.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from codehearth.engines.base import (
    Available,
    Command,
    Launch,
    LoadableWeights,
    Unavailable,
)
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.threads import child_environment

_PROBE_TIMEOUT_S = 15.0  # a CUDA build looks for its GPUs even for --version
_NEEDED = ("--model", "--host", "--ctx-size", "--parallel", "--threads", "--alias")


@dataclass(frozen=True)
class LlamaServer:
    """A llama-server that was asked for its version and options (see `probe`)."""

    path: Path
    version: str
    options: frozenset[str]
    ours: dict[str, str] = field(default_factory=dict, repr=False)
    name: str = "llama-server"
    # Assumed of one that somebody else built for this machine.
    sees_gpus: bool = True
    # What it computes with, where that can be called too: of one that was built here.
    library: Path | None = None

    @property
    def scores_prompts(self) -> bool:
        return False

    def availability(self) -> Available | Unavailable:
        return Available(f"llama-server {self.version} at {self.path}")

    def can_load(self, weights: LoadableWeights) -> str | None:
        return None if weights.kind == "gguf" else "llama.cpp reads GGUF files only"

    def command(self, launch: Launch, endpoint: Endpoint) -> Command:
        """Its command line; see `workers/llamacpp.py` for why each default is changed."""
        batch = launch.context_tokens if launch.is_embedding else launch.batch_tokens
        argv = [
            str(self.path),
            "--model", str(launch.path.absolute()),
            "--alias", launch.alias,
            "--host", str(endpoint.socket_path),
            "--ctx-size", str(launch.context_tokens * launch.num_slots),
            "--parallel", str(launch.num_slots),
            "--threads", str(launch.num_threads),
        ]  # fmt: skip
        for names, value in (
            (("--threads-batch",), str(launch.num_threads)),
            (("--n-gpu-layers", "--gpu-layers"), str(launch.gpu_layers)),
            (("--batch-size",), str(batch)),
            (("--ubatch-size",), str(batch)),
            (("--cache-ram",), str(launch.prompt_cache_bytes >> 20)),
            (("--ctx-checkpoints",), "4"),
            (("--threads-http",), str(launch.num_slots + 4)),
            (("--fit",), "off"),
            (("--log-verbosity",), "2"),
            (("--cors-origins",), ""),
            (("--no-kv-unified",), None),
            (("--no-context-shift",), None),
            (("--no-ui", "--no-webui"), None),
            (("--no-slots",), None),
            (("--metrics",), None),
            (("--jinja",), None),
            (("--offline",), None),
            *(() if launch.prompt_cache_bytes >> 20 else ((("--no-cache-idle-slots",), None),)),
            *(((("--embeddings", "--embedding"), None),) if launch.is_embedding else ()),
            *(((("--lora-init-without-apply",), None),) if launch.chooses_adapters else ()),
            *(() if launch.mapped else (_read_weights(self.options),)),
        ):
            known = next((name for name in names if name in self.options), None)
            if known is not None:
                argv += [known] if value is None else [known, value]
        for adapter in launch.adapters:
            argv += ["--lora", str(adapter.path.absolute())]
        if launch.chat_template is not None:
            argv += ["--chat-template-file", str(launch.chat_template)]
        environment = child_environment(self.ours) | {"LLAMA_API_KEY": endpoint.api_key}
        why = (
            f"llama-server {self.version}: built for this machine",
            f"{launch.num_threads} threads",
        )
        return Command(tuple(argv), environment, why=why)


def _read_weights(options: frozenset[str]) -> tuple[tuple[str, ...], str | None]:
    """The option that reads weights instead of mapping them; its name changed in 2026."""
    if "--load-mode" in options:
        return ("--load-mode",), "none"
    return ("--no-mmap",), None


def find(setting: str) -> Path | None:
    """The program that the setting means: `auto` looks on PATH, else it is a path or a name."""
    if setting == "off":
        return None
    found = shutil.which("llama-server" if setting == "auto" else str(Path(setting).expanduser()))
    return Path(found).resolve() if found else None


def probe(path: Path, *, ours: dict[str, str]) -> LlamaServer | Unavailable:
    """Ask the program what it is. Starts it twice, shortly; remembered until the file changes."""
    try:
        changed_at = path.stat().st_mtime_ns
    except OSError as error:
        return Unavailable(f"{path} cannot be read ({error.strerror})", "name another llama-server")
    return _probe(path, changed_at, tuple(sorted(ours.items())))


@functools.lru_cache(maxsize=8)
def _probe(
    path: Path, _changed_at: int, ours: tuple[tuple[str, str], ...]
) -> LlamaServer | Unavailable:
    environment = child_environment(dict(ours))
    try:
        version_text, help_text = (
            _ask(path, word, environment) for word in ("--version", "--help")
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Unavailable(f"{path} does not run ({error})", "name another llama-server")
    version = re.search(r"version: (\S+)", version_text)
    if version is None:
        return Unavailable(f"{path} does not say its version", "name another llama-server")
    options = frozenset(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", help_text))
    missing = [name for name in _NEEDED if name not in options]
    if ".sock" not in help_text:
        missing.append("a Unix socket as --host")
    if "LLAMA_API_KEY" not in help_text:
        missing.append("a key from LLAMA_API_KEY")
    if missing:
        return Unavailable(
            f"{path} (version {version[1]}) is too old: it lacks {', '.join(missing)}",
            "update it, or set llama_server to off",
        )
    return LlamaServer(path, version[1], options, dict(ours))


def _ask(path: Path, word: str, environment: dict[str, str]) -> str:
    """What the program writes; llama.cpp writes its version to standard error."""
    answer = subprocess.run(
        [str(path), word],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        timeout=_PROBE_TIMEOUT_S,
        check=False,
    )
    return (answer.stdout + answer.stderr).decode("utf-8", "replace")
