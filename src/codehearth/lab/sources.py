"""Any model on this disk as something to quantise."""

from __future__ import annotations

from codehearth.lab.checkpoint_source import checkpoint_source
from codehearth.lab.source import SourceModel, gguf_source
from codehearth.models.local_models import LocalModel


def source_of(model: LocalModel) -> SourceModel:
    """The source's facts and tensors; raises BadWeights and Unsupported."""
    if model.format == "gguf":
        return gguf_source(model.path)
    licence = model.row.licence if model.row is not None else None
    return checkpoint_source(model.folder, name=model.name, repo=model.repo, licence=licence)
