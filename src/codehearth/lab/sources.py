"""Any model on this disk as something to quantise."""

from __future__ import annotations

from codehearth.lab.checkpoint_source import checkpoint_source
from codehearth.lab.naming import base_of
from codehearth.lab.source import SourceModel, gguf_source
from codehearth.models.local_models import LocalModel
from codehearth.models.weights import require_here


def source_of(model: LocalModel) -> SourceModel:
    """The source's facts and tensors; raises BadWeights and Unsupported."""
    require_here(model)
    if model.format == "gguf":
        return gguf_source(model.path)
    row = model.row
    return checkpoint_source(
        model.folder,
        name=base_of(model) if row is None else row.title,
        repo=model.repo,
        licence=None if row is None else row.licence,
    )
