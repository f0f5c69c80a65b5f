"""Which checkpoint is tuned, or packed, when a model is named."""

from __future__ import annotations

from codehearth.errors import Unsupported
from codehearth.models.local_models import LocalModel
from codehearth.models.shelf import best
from codehearth.models.starter import STARTER
from codehearth.models.starter_checkpoint import STARTER_CHECKPOINT
from codehearth.models.store import Store
from codehearth.models.tuned import split_form
from codehearth.models.weights import read_weights

_WHOLE = ("F32", "F16", "BF16")


def checkpoint_of(store: Store, text: str, purpose: str) -> LocalModel:
    """The checkpoint in whole precision of the model that `text` names; `purpose` is for messages.

    A GGUF stands for its checkpoint where that is here too. Raises Unsupported with what is needed
    where it is not, and as `Store.find` does.
    """
    if text == STARTER:
        return store.find(STARTER_CHECKPOINT)
    name, form = split_form(text)
    if store.tuned.get(name) is not None and form is None:
        return store.find(f"{name}:checkpoint")
    found = store.find(text, allow_path=True)
    if found.adapter is not None:
        raise Unsupported(f"'{text}' is an adapter on another model; take `{name}`.", param="model")
    if found.format == "gguf":
        found = _beside(store, found, purpose)
    precision = read_weights(found.path).precision
    if precision not in _WHOLE or not found.path.is_dir():
        raise Unsupported(
            f"'{found.name}' is quantised ({precision}); {purpose} starts from whole weights.",
            hint=f"pull the checkpoint: {_command(found)}",
            param="model",
        )
    return found


def gguf_of(store: Store, base: LocalModel) -> LocalModel | None:
    """A GGUF of the same model on this machine, which an adapter can be loaded beside."""
    if base.name == STARTER_CHECKPOINT:
        return store.find(STARTER)
    if base.row is None or base.source == "tuned":
        return None
    row = base.row.name
    return best(
        one
        for one in store.models()
        if one.row and one.row.name == row and one.format == "gguf" and one.hub is not None
    )


def _beside(store: Store, gguf: LocalModel, purpose: str) -> LocalModel:
    """The checkpoint of the same row of the catalogue."""
    for one in store.models():
        is_same = one.row is not None and gguf.row is not None and one.row.name == gguf.row.name
        if is_same and one.format == "safetensors" and one.precision in (None, "bf16", "fp16"):
            return store.find(one.name)
    raise Unsupported(
        f"'{gguf.name}' is here as GGUF only; {purpose} needs the checkpoint of Hugging Face.",
        hint=f"pull the checkpoint: {_command(gguf)}",
        param="model",
    )


def _command(model: LocalModel) -> str:
    row = model.row
    if row is None:
        return "`hearth pull hf:ORGANISATION/NAME`"
    whole = (one.precision for one in row.files if one.format == "safetensors")
    precision = next((name for name in whole if name in ("bf16", "fp16")), "bf16")
    return f"`hearth pull {row.name}:{precision}`"
