"""All engines as a list for people: what each runs on this machine, or why not and what helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codehearth.engines import engines
from codehearth.engines.base import Engine, Unavailable
from codehearth.engines.environments import Environments
from codehearth.engines.installed import Broken, Installed
from codehearth.engines.recipes import RECIPES, recipes_of
from codehearth.models.remotes import Server

_READS = {
    "llama.cpp": "GGUF",
    "llama-server": "GGUF",
    "transformers": "safetensors, and GGUF when asked for",
    "vllm": "safetensors",
    "lmdeploy": "safetensors",
    "fastllm": "safetensors with an output of its own",
    "remote": "models of other servers",
}


@dataclass(frozen=True)
class Listed:
    """One engine. `hint` is the command that makes it run, or run better."""

    name: str
    state: Literal["ready", "missing", "broken"]
    reads: str
    detail: str
    hint: str | None = None


def overview(
    *, llama_server_setting: str, environments: Path, remotes: Mapping[str, Sequence[Server]]
) -> tuple[Listed, ...]:
    """The engines in the order in which they are preferred. Raises as `engines` does."""
    found = engines(llama_server_setting=llama_server_setting, environments=environments)
    listed = [_listed(engine, environments) for engine in found]
    if not any(one.name == "llama-server" for one in listed):
        listed.insert(1, _no_native(llama_server_setting))
    return (*listed, _remote(remotes))


def _remote(remotes: Mapping[str, Sequence[Server]]) -> Listed:
    served = [
        f"{name} at {', '.join(one.url for one in servers)}" for name, servers in remotes.items()
    ]
    if not served:
        hint = "`hearth serve --remotes NAME=http://HOST:PORT/v1` asks one, vLLM's or another"
        return Listed("remote", "missing", _READS["remote"], "no server is named", hint)
    return Listed("remote", "ready", _READS["remote"], "; ".join(served))


def _listed(engine: Engine, environments: Path) -> Listed:
    reads, availability = _READS[engine.name], engine.availability()
    recipe = "llamacpp-native" if engine.name == "llama-server" else engine.name
    state = Environments(environments).state(recipe) if recipe in RECIPES else None
    if isinstance(availability, Unavailable):
        reason, hint = availability.reason, availability.hint
        is_broken = isinstance(state, Broken)
        return Listed(engine.name, "broken" if is_broken else "missing", reads, reason, hint)
    is_old = isinstance(state, Installed) and state.digest not in _digests(recipe)
    renew = f"its packages are an earlier release's: `hearth engines install {recipe}`"
    return Listed(engine.name, "ready", reads, availability.detail, renew if is_old else None)


def _digests(engine: str) -> frozenset[str]:
    return frozenset(recipe.digest for recipe in recipes_of(engine))


def _no_native(setting: str) -> Listed:
    if setting == "off":
        return Listed("llama-server", "missing", "GGUF", "switched off")
    reason = "none was built here, and none found on PATH that can be used"
    hint = (
        "`hearth engines install llamacpp-native` builds one for this CPU, faster than the wheel's"
    )
    return Listed("llama-server", "missing", "GGUF", reason, hint)
