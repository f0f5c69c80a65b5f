"""How to start each engine; never the engine itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from codehearth.engines import llama_server
from codehearth.engines.base import Engine, LoadableWeights, Unavailable
from codehearth.engines.environments import Environments
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.threads import INHERITED
from codehearth.engines.transformers import INSTALL, Transformers
from codehearth.errors import EngineMissing, Unsupported

__all__ = ["ENGINE_NAMES", "Choice", "choose_engine", "engines"]

# What a user may ask for, and the engines that this means.
ENGINE_NAMES: dict[str, frozenset[str]] = {
    "llama.cpp": frozenset({"llama.cpp", "llama-server"}),
    "transformers": frozenset({"transformers"}),
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
    2. A llama-server found on PATH, unless that is switched off or it is too old.
    3. llama.cpp from the wheel.
    4. transformers in its environment below the folder `environments`.
    """
    ours = {name: value for name, value in os.environ.items() if name in INHERITED}
    found: list[Engine] = [LlamaCpp(ours)]
    native = _native(llama_server_setting, ours)
    if native is not None:
        found.insert(0, native)
    if environments is not None:
        found.append(transformers_at(environments))
    return tuple(found)


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
) -> Choice:
    """The first engine that runs here and can load `weights`, among those that are wanted.

    Raises EngineMissing where none is installed that could, Unsupported where none can.
    """
    reasons: list[str] = []
    missing: list[EngineMissing] = []
    known = engines(llama_server_setting=llama_server, environments=environments)
    for engine in known:
        if wanted != "auto" and engine.name not in ENGINE_NAMES[wanted]:
            continue
        if reason := engine.can_load(weights):
            reasons.append(reason)
            continue
        availability = engine.availability()
        if isinstance(availability, Unavailable):
            missing.append(_missing(engine, availability))
            continue
        return Choice(engine, () if wanted != "auto" else (_why(engine, weights, reasons),))
    if missing:
        raise missing[0]
    raise Unsupported(
        f"No engine here can load these weights: {'; '.join(dict.fromkeys(reasons))}.",
        hint="pull the model in GGUF format" if weights.kind != "gguf" else f"try {INSTALL}",
        param="model",
    )


def _native(setting: str, ours: dict[str, str]) -> Engine | None:
    """The llama-server that the setting means; None where there is none or it is of no use."""
    path = llama_server.find(setting)
    is_named = setting not in ("auto", "off")
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
        return native
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


def _why(engine: Engine, weights: LoadableWeights, reasons: list[str]) -> str:
    if reasons:
        return f"engine {engine.name}: {reasons[0]}"
    return f"engine {engine.name}: the fastest one here for {weights.kind}"
