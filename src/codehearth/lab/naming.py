"""Names of what the lab makes, pure: a model's, its own without a precision, and a run's."""

from __future__ import annotations

import datetime
import re

from codehearth.models.local_models import LocalModel
from codehearth.models.made import MadeModel
from codehearth.models.names import HUB_PREFIXES
from codehearth.models.precisions import precision_of_file


def base_of(model: LocalModel) -> str:
    """`starter`, `qwen2.5-coder-1.5b`, `hf:org/repo`, or a path's own name.

    `./coder-7b-F16.gguf` becomes `coder-7b`: its parts in other precisions are named beside it.
    What is made of a made model keeps that one's precision in its name, so that it is not taken
    for one that was made of the original: `starter-q4_k_m:q2_k`.
    """
    if model.source == "tuned":
        return _plain(model.name.replace(":", "-") + ".tuned").removesuffix(".tuned")
    if model.source == "made":
        return _plain(model.name + ".made").removesuffix(".made")
    if model.row is not None:
        return model.row.name
    if model.hub is not None and model.repo is not None:
        return f"{HUB_PREFIXES[model.hub]}:{model.repo}"
    return _plain(model.path.name.removesuffix(".gguf"))


def made_of(model: LocalModel, precision: str, *, calibrated_on: str = "") -> MadeModel:
    """What is made of `model` in a precision, before it is there."""
    row = model.row.name if model.row is not None else None
    return MadeModel(base_of(model), precision, row, calibrated_on=calibrated_on)


def run_id(began_at: datetime.datetime, name: str) -> str:
    """`20261126-061005-starter`: what a run on `name` is called, as a file's name too."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60]
    return f"{began_at.strftime('%Y%m%d-%H%M%S')}-{plain}"


def _plain(name: str) -> str:
    name = re.sub(r"-\d{5}-of-\d{5}$", "", name)
    shorter = re.sub(r"[-._][A-Za-z0-9_]+$", "", name)
    tail = name[len(shorter) :]
    if tail and precision_of_file(f"model{tail}.gguf"):
        name = shorter
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "model"
