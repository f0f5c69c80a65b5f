"""What a result says of the model, the machine and the programs that it was taken with."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import replace

from codehearth import __version__
from codehearth.engines.base import Engine
from codehearth.engines.installed import Installed
from codehearth.engines.llama_server import LlamaServer
from codehearth.engines.native_tools import ENGINE
from codehearth.lab.candidates import Candidate
from codehearth.lab.result import ModelFacts, Published
from codehearth.lab.scoring import WHEEL, Library
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.local_models import LocalModel


def model_facts(model: LocalModel, weights: Weights) -> ModelFacts:
    return ModelFacts(
        name=model.name,
        source=model.source,
        architecture=weights.architecture,
        num_parameters=weights.num_parameters,
        vocabulary_size=weights.vocabulary_size,
        context_tokens=weights.context_tokens,
        licence=weights.licence,
    )


def published(model: LocalModel) -> tuple[Published, ...]:
    figures = model.row.figures if model.row is not None else ()
    return tuple(
        Published(one.benchmark, one.metric, one.value, one.precision, one.source)
        for one in figures
    )


def library_of(engine: Engine) -> Library:
    """The library of the engine that serves, where it can be called; else the wheel's."""
    if isinstance(engine, LlamaServer) and engine.library is not None:
        return Library(ENGINE, engine.version, engine.library)
    return replace(WHEEL, version=importlib.metadata.version(WHEEL.name))


def versions(candidates: Sequence[Candidate]) -> dict[str, str]:
    packages = ("xllamacpp", "numpy")
    states = (one.loaded_by.state for one in candidates if one.loaded_by is not None)
    engine = next((state for state in states if isinstance(state, Installed)), None)
    return {
        "codehearth": __version__,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
        **({engine.engine: engine.version, "torch": str(engine.facts["torch"])} if engine else {}),
    }


def machine_facts(hardware: Hardware) -> dict[str, object]:
    return {
        "system": hardware.system,
        "machine": hardware.machine,
        "cpu_name": hardware.cpu_name,
        "num_cores": hardware.num_cores,
        "num_physical_cores": hardware.num_physical_cores,
        "total_bytes": hardware.total_bytes,
        "gpus": [gpu.name for gpu in hardware.gpus],
    }
