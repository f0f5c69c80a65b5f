"""Any model on this disk as something to quantise."""

from __future__ import annotations

from codehearth.errors import BadWeights
from codehearth.lab.checkpoint_source import checkpoint_source
from codehearth.lab.naming import base_of
from codehearth.lab.source import SourceModel, gguf_source
from codehearth.models.local_models import LocalModel
from codehearth.models.transfer import file_digest
from codehearth.models.weights import require_here


def require_sound(model: LocalModel) -> None:
    """Raises BadWeights where a file is not what it was when its hash was taken.

    Seconds for gigabytes, where the work that follows takes minutes. The packaged model's is looked
    at when it is found.
    """
    if model.source == "package":
        return
    for name, expected in model.sha256.items():
        path = model.folder / name
        if path.is_file() and expected and file_digest(path, "sha256") != expected:
            made = model.source in ("made", "tuned")
            raise BadWeights(
                f"'{model.name}' is damaged: '{name}' has another hash than it had.",
                hint="delete it with `hearth rm` and " + ("make" if made else "pull") + " it again",
            )


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
