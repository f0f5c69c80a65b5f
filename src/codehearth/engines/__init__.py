"""How to start each engine; never the engine itself."""

from __future__ import annotations

import os

from codehearth.engines import llama_server
from codehearth.engines.base import Engine, LoadableWeights, Unavailable
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.threads import INHERITED
from codehearth.errors import EngineMissing, Unsupported

__all__ = ["choose_engine", "engines"]


def engines(*, llama_server_setting: str = "auto") -> tuple[Engine, ...]:
    """The engines of this machine, the preferred first.

    1. A llama-server that was named. Raises EngineMissing where it cannot be used.
    2. A llama-server found on PATH, unless that is switched off or it is too old.
    3. llama.cpp from the wheel.
    """
    ours = {name: value for name, value in os.environ.items() if name in INHERITED}
    embedded = LlamaCpp(ours)
    path = llama_server.find(llama_server_setting)
    is_named = llama_server_setting not in ("auto", "off")
    if path is None:
        if is_named:
            raise EngineMissing(
                f"There is no program '{llama_server_setting}' to use as llama-server.",
                hint="name a llama-server, or set llama_server to auto or off",
                retry_after_s=None,
            )
        return (embedded,)
    native = llama_server.probe(path, ours=ours)
    if isinstance(native, Unavailable):
        if is_named:
            raise EngineMissing(f"{native.reason}.", hint=native.hint, retry_after_s=None)
        return (embedded,)
    return (native, embedded)


def choose_engine(weights: LoadableWeights, *, llama_server: str = "auto") -> Engine:
    """The first engine that runs here and can load `weights`.

    Raises EngineMissing where none is installed that could, Unsupported where none can.
    """
    reasons = []
    for engine in engines(llama_server_setting=llama_server):
        if reason := engine.can_load(weights):
            reasons.append(reason)
            continue
        availability = engine.availability()
        if isinstance(availability, Unavailable):
            raise EngineMissing(
                f"The engine {engine.name} cannot run: {availability.reason}.",
                hint=availability.hint,
                retry_after_s=None,
            )
        return engine
    raise Unsupported(
        f"No engine here can load these weights: {'; '.join(dict.fromkeys(reasons))}.",
        hint="pull the model in GGUF format",
        param="model",
    )
