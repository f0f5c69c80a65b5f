"""Facts read from weights on disk: one door for GGUF files, safetensors files and folders.

Only headers are read, never a tensor. Whatever the files hold, the answer is `Weights` or
`BadWeights`, within bounded time and memory.
"""

from __future__ import annotations

from pathlib import Path

from codehearth.errors import BadWeights, Unsupported
from codehearth.models.facts import FIM_MARKS, Weights, WeightsKind
from codehearth.models.gguf_weights import read_gguf_weights, split_parts
from codehearth.models.local_models import LocalModel
from codehearth.models.safetensors_weights import read_safetensors_weights

__all__ = ["FIM_MARKS", "Weights", "WeightsKind", "read_weights", "require_here", "weights_here"]


def read_weights(path: Path) -> Weights:
    """The facts of the model at `path`; raises BadWeights.

    `path` is a GGUF file (any part of a split one), a safetensors file, or a folder that holds a
    Hugging Face checkpoint or exactly one GGUF model.
    """
    try:
        if path.is_dir():
            return _read_folder(path)
        if path.suffix.lower() == ".safetensors":
            return read_safetensors_weights(path.parent, only=path.name)
        return read_gguf_weights(path)
    except OSError as error:
        raise BadWeights(f"'{path.name}' cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadWeights("A path with a NUL character names no file.") from error


def _read_folder(folder: Path) -> Weights:
    if any(folder.glob("*.safetensors")):
        return read_safetensors_weights(folder)
    files = sorted(file for file in folder.glob("*.gguf") if not file.name.startswith("mmproj"))
    models = {split_parts(file)[0] for file in files}
    if len(models) == 1:
        return read_gguf_weights(models.pop())
    if models:
        names = ", ".join(sorted(model.name for model in models)[:5])
        raise BadWeights(
            f"'{folder.name}' holds {len(models)} GGUF models.", hint=f"name one of them: {names}"
        )
    raise BadWeights(
        f"'{folder.name}' holds neither safetensors nor a GGUF file.",
        hint="only these two formats are taken: the others can hold code",
    )


def weights_here(model: LocalModel) -> Weights:
    """The facts of a model's weights; raises BadWeights, and Unsupported for a remote model."""
    require_here(model)
    return read_weights(model.path)


def require_here(model: LocalModel) -> None:
    """Raises Unsupported for a model of another server: its path is nowhere."""
    if model.format == "remote":
        raise Unsupported(
            f"'{model.name}' is served by another server; nothing of it is here to be looked at.",
            hint="`hearth engines` shows which server that is",
        )
