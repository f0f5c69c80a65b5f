"""How to start each engine; never the engine itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from codehearth.engines import llama_server
from codehearth.engines.base import Engine, LoadableWeights, Unavailable
from codehearth.engines.environments import Environments
from codehearth.engines.fastllm import Fastllm
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.lmdeploy import Lmdeploy
from codehearth.engines.measured import Speed, fastest
from codehearth.engines.native_tools import native_tools
from codehearth.engines.threads import INHERITED
from codehearth.engines.transformers import INSTALL, Transformers
from codehearth.engines.vllm import Vllm
from codehearth.errors import EngineMissing, Unsupported

__all__ = ["ENGINE_NAMES", "Choice", "choose_engine", "engines"]

# What a user may ask for, and the engines that this means.
ENGINE_NAMES: dict[str, frozenset[str]] = {
    "llama.cpp": frozenset({"llama.cpp", "llama-server"}),
    "transformers": frozenset({"transformers"}),
    "vllm": frozenset({"vllm"}),
    "lmdeploy": frozenset({"lmdeploy"}),
    "fastllm": frozenset({"fastllm"}),
}

# Why an engine comes before those behind it, once it can load the weights.
_REASONS = {
    "llama-server": "llama.cpp built for this machine",
    "llama.cpp": "the fastest one here for GGUF files",
    "vllm": "the fastest one here for many requests on GPUs",
    "lmdeploy": "the fastest one here for many requests on GPUs",
    "transformers": "it reads every checkpoint and starts in seconds",
    "fastllm": "the only one installed that reads this checkpoint",
}


@dataclass(frozen=True)
class Choice:
    """The engine for some weights; `why` is empty where it was asked for by name."""

    engine: Engine
    why: tuple[str, ...]


def engines(
    *, llama_server_setting: str = "auto", environments: Path | None = None
) -> tuple[Engine, ...]:
    """The engines of this machine, the preferred first.

    1. A llama-server that was named. Raises EngineMissing where it cannot be used.
    2. The llama-server that was built here, else one found on PATH, unless that is switched off
       or it is too old.
    3. llama.cpp from the wheel.
    4. Those with an environment below the folder `environments`: vLLM and LMDeploy where they
       have GPUs, transformers, then the others.
    """
    ours = {name: value for name, value in os.environ.items() if name in INHERITED}
    found: list[Engine] = [LlamaCpp(ours)]
    native = _native(llama_server_setting, environments, ours)
    if native is not None:
        found.insert(0, native)
    if environments is not None:
        found += _with_environments(Environments(environments), ours)
    return tuple(found)


def _with_environments(environments: Environments, ours: dict[str, str]) -> list[Engine]:
    transformers = Transformers(environments.state("transformers"), ours)
    vllm = Vllm(environments.state("vllm"), ours)
    lmdeploy = Lmdeploy(environments.state("lmdeploy"), ours)
    fastllm = Fastllm(environments.state("fastllm"), ours)
    on_gpus = [one for one in (vllm, lmdeploy) if _has_gpus(one)]
    others = [one for one in (vllm, lmdeploy, fastllm) if one not in on_gpus]
    return [*on_gpus, transformers, *others]


def _has_gpus(engine: Engine) -> bool:
    return engine.sees_gpus and not isinstance(engine.availability(), Unavailable)


def transformers_at(environments: Path) -> Transformers:
    """The engine in its environment below the folder, installed or not."""
    ours = {name: value for name, value in os.environ.items() if name in INHERITED}
    return Transformers(Environments(environments).state("transformers"), ours)


def choose_engine(
    weights: LoadableWeights,
    *,
    wanted: str = "auto",
    llama_server: str = "auto",
    environments: Path | None = None,
    speeds: Mapping[str, Speed] | None = None,
) -> Choice:
    """The first engine that runs here and can load `weights`, among those that are wanted.

    `speeds` by engine, measured here with these weights, count more than that order; but not those
    of the processor for an engine that would use GPUs.
    Raises EngineMissing where none is installed that could, Unsupported where none can.
    """
    reasons: list[str] = []
    missing: list[EngineMissing] = []
    usable: dict[str, Engine] = {}
    known = engines(llama_server_setting=llama_server, environments=environments)
    for engine in known:
        if wanted != "auto" and engine.name not in ENGINE_NAMES[wanted]:
            continue
        if reason := engine.can_load(weights):
            reasons += [] if usable else [reason]
            continue
        availability = engine.availability()
        if isinstance(availability, Unavailable):
            missing.append(_missing(engine, availability))
            continue
        usable[engine.name] = engine
        if not speeds:
            break
    if usable:
        comparing = {
            name: speed
            for name, speed in (speeds or {}).items()
            if name in usable and not (speed.left_gpus_idle and usable[name].sees_gpus)
        }
        name, why = fastest(tuple(usable), comparing) or (next(iter(usable)), "")
        why = why or _why(usable[name], weights, reasons)
        return Choice(usable[name], () if wanted != "auto" else (why,))
    if missing:
        raise missing[0]
    raise Unsupported(
        f"No engine here can load these weights: {'; '.join(dict.fromkeys(reasons))}.",
        hint=_hint(weights, wanted),
        param="model",
    )


def _native(setting: str, environments: Path | None, ours: dict[str, str]) -> Engine | None:
    """The llama-server that the setting means; None where there is none or it is of no use."""
    is_named = setting not in ("auto", "off")
    built = native_tools(environments) if setting == "auto" and environments else None
    path = built.server if built else llama_server.find(setting)
    if path is None:
        if is_named:
            raise EngineMissing(
                f"There is no program '{setting}' to use as llama-server.",
                hint="name a llama-server, or set llama_server to auto or off",
                retry_after_s=None,
            )
        return None
    native = llama_server.probe(path, ours=ours)
    if not isinstance(native, Unavailable):
        if built is None:
            return native
        return replace(native, sees_gpus=built.knows_gpus, library=built.library)
    if is_named:
        raise EngineMissing(f"{native.reason}.", hint=native.hint, retry_after_s=None)
    return None


def _missing(engine: Engine, availability: Unavailable) -> EngineMissing:
    return EngineMissing(
        f"The engine {engine.name}, which could load this model, cannot run: "
        f"{availability.reason}.",
        hint=availability.hint,
        retry_after_s=None,
    )


def _hint(weights: LoadableWeights, wanted: str) -> str:
    if wanted != "auto" and weights.kind == "gguf":
        return f"name a checkpoint of this model, which {wanted} reads, or leave `engine` at auto"
    if wanted != "auto":
        return "leave `engine` at auto, which takes one that can load them"
    return "pull the model in GGUF format" if weights.kind != "gguf" else f"try {INSTALL}"


def _why(engine: Engine, weights: LoadableWeights, reasons: list[str]) -> str:
    if reasons and weights.kind != "gguf" and engine.name == "transformers":
        return f"engine {engine.name}: {reasons[0]}"
    return f"engine {engine.name}: {_REASONS[engine.name]}"
