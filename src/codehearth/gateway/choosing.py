"""Which engine serves a model, and in which of the formats in which the model is here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from codehearth.engines import Choice, choose_engine
from codehearth.engines.transformers import cannot_make
from codehearth.errors import Unsupported
from codehearth.lab.other_format import in_other_format
from codehearth.lab.speeds import measured_speeds
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.store import LocalModel, Store
from codehearth.models.weights import read_weights
from codehearth.settings import Settings


def chosen_for(
    settings: Settings, store: Store, model: LocalModel, machine: Hardware
) -> tuple[LocalModel, Weights, Choice]:
    """The engine for a model as the settings want it, and the model in files that it reads.

    Where the wanted engine does not read what was named, or cannot make the wanted precision of it,
    the same model may be here in the other format. Raises as `choose_engine` does.
    """
    choose = partial(
        _choose,
        precision=settings.precision,
        wanted=settings.engine,
        llama_server=settings.llama_server,
        environments=environments_of(settings),
        speeds=measured_speeds(settings.data / "lab", model.process, machine),
    )
    weights = read_weights(model.path)
    try:
        return model, weights, choose(weights)
    except Unsupported:
        is_read = partial(_is_read, choose)
        other = None if model.adapter else in_other_format(store, model, is_read=is_read)
        if other is None:
            raise
    weights = read_weights(other.path)
    choice = choose(weights)
    serves_it = choice.engine.can_load(read_weights(model.path)) is None
    does_not = f"does not make {settings.precision} of" if serves_it else "does not read"
    why = f"its {other.format}: {choice.engine.name} {does_not} the model's {model.format}"
    return other, weights, replace(choice, why=(*choice.why, why))


def _choose(weights: Weights, *, precision: str, **asked: Any) -> Choice:
    choice = choose_engine(weights, **asked)
    reason = cannot_make(precision, weights) if choice.engine.name == "transformers" else None
    if reason is not None:
        raise Unsupported(
            f"{reason[0].upper()}{reason[1:]}.",
            hint="name a checkpoint of this model, leave `precision` at auto, or leave `engine` at "
            "auto: llama.cpp serves GGUF files as they are",
            param="model",
        )
    return choice


def _is_read(choose: Callable[[Weights], Choice], weights: Weights) -> bool:
    try:
        choose(weights)
    except Unsupported:
        return False
    return True


def environments_of(settings: Settings) -> Path:
    """The folder of the engines' own environments."""
    return settings.data / "engines"
