"""Whether a model fits this machine, for models that are here and for those of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codehearth.errors import DoesNotFit, ModelNotFound
from codehearth.models.catalogue import Row, resolve
from codehearth.models.choosing import choose_precision
from codehearth.models.estimate import estimated_weights
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.names import CatalogueName, parse_name
from codehearth.models.planning import Plan, plan
from codehearth.models.prediction import prediction_of
from codehearth.models.weights import weights_here

if TYPE_CHECKING:
    from codehearth.models.store import LocalModel, Store


@dataclass(frozen=True)
class Fit:
    """A model at one precision with the plan to run it; `is_here` if its weights were read."""

    name: str
    precision: str
    weights: Weights
    plan: Plan
    why: tuple[str, ...]
    is_here: bool


def fit_of(
    store: Store,
    text: str,
    hardware: Hardware,
    *,
    context_tokens: int | None = None,
    num_slots: int | None = None,
    engine: str = "auto",
    precision: str = "auto",
) -> Fit:
    """How the model would run; raises DoesNotFit, ModelNotFound, BadWeights.

    A model that is not here is estimated from the catalogue, and says so.
    """
    try:
        model = store.find(text, allow_path=True, runs_code=False)
    except ModelNotFound:
        row, of_row = _row_of(text)
        if prediction_of(engine, precision) is None and (ggufs_of(row) or engine == "llama.cpp"):
            return fit_of_row(
                row, hardware, of_row, context_tokens=context_tokens, num_slots=num_slots
            )
        return _fit_of_checkpoint_row(
            row,
            hardware,
            "transformers" if engine == "auto" else engine,
            _precision_of_row(row, precision if precision != "auto" else of_row),
            context_tokens=context_tokens,
            num_slots=num_slots,
        )
    return fit_of_local(
        model,
        hardware,
        context_tokens=context_tokens,
        num_slots=num_slots,
        engine=engine,
        precision=precision,
    )


def fit_of_local(
    model: LocalModel,
    hardware: Hardware,
    *,
    context_tokens: int | None = None,
    num_slots: int | None = None,
    engine: str = "auto",
    precision: str = "auto",
) -> Fit:
    """The plan of weights that are here; of `auto` engines, the one that reads them counts."""
    weights = weights_here(model)
    if engine == "auto":
        engine = "llama.cpp" if weights.kind == "gguf" else "transformers"
    chosen = plan(
        weights,
        hardware,
        context_tokens=context_tokens,
        num_slots=num_slots,
        predict_for_engine=prediction_of(engine, precision),
    )
    is_stored = engine == "llama.cpp" or precision == "auto"
    shown = weights.precision if is_stored else precision
    return Fit(model.name, shown, weights, chosen, chosen.why, is_here=True)


def weights_of_text(store: Store, text: str) -> Weights:
    """The facts of a model that is here, or an estimate from the catalogue; raises as `fit_of`."""
    try:
        return weights_here(store.find(text, allow_path=True, runs_code=False))
    except ModelNotFound:
        row, precision = _row_of(text)
        options = ggufs_of(row)
        return options.get(precision or "") or _checkpoint_of(row)


def _fit_of_checkpoint_row(
    row: Row,
    hardware: Hardware,
    engine: str,
    precision: str,
    *,
    context_tokens: int | None,
    num_slots: int | None,
) -> Fit:
    """A row as an engine of checkpoints would run it in `precision`, estimated."""
    weights = _checkpoint_of(row)
    chosen = plan(
        weights,
        hardware,
        context_tokens=context_tokens,
        num_slots=num_slots,
        predict_for_engine=prediction_of(engine, precision),
    )
    return Fit(f"{row.name}:{precision}", precision, weights, chosen, chosen.why, is_here=False)


def _checkpoint_of(row: Row) -> Weights:
    """The model's checkpoint in two bytes a number, estimated."""
    estimated = estimated_weights(
        num_parameters=row.num_parameters,
        precision="bf16",
        context_tokens=row.context_tokens,
        is_embedding_model=row.kind == "embedding",
    )
    return replace(estimated, kind="safetensors", precision="BF16")


def _precision_of_row(row: Row, asked: str | None) -> str:
    """What was asked for, else the row's first checkpoint."""
    listed = (one.precision for one in row.files if one.format == "safetensors")
    return asked or next(listed, "bf16")


def fit_of_row(
    row: Row,
    hardware: Hardware,
    precision: str | None = None,
    *,
    context_tokens: int | None = None,
    num_slots: int | None = None,
    budget_bytes: int | None = None,
) -> Fit:
    """A row of the catalogue at `precision`, or at the one that suits the machine best."""
    options = ggufs_of(row)
    if precision is not None:
        options = {precision: weights_of(row, precision)}
    if not options:
        raise ModelNotFound(row.name, hint=f"there is no GGUF of {row.name} to run here")
    choice = choose_precision(
        options.values(),
        hardware,
        context_tokens=context_tokens,
        num_slots=num_slots,
        budget_bytes=budget_bytes,
    )
    name = f"{row.name}:{choice.precision}"
    return Fit(name, choice.precision, choice.weights, choice.plan, choice.why, is_here=False)


def ggufs_of(row: Row) -> Mapping[str, Weights]:
    """What llama.cpp could run of a row, estimated."""
    precisions = dict.fromkeys(one.precision for one in row.files if one.format == "gguf")
    return {precision: weights_of(row, precision) for precision in precisions}


def weights_of(row: Row, precision: str) -> Weights:
    return estimated_weights(
        num_parameters=row.num_parameters,
        precision=precision,
        context_tokens=row.context_tokens,
        num_bytes=row.estimated_bytes(precision),
        is_embedding_model=row.kind == "embedding",
    )


def fits(row: Row, hardware: Hardware, *, budget_bytes: int | None = None) -> Fit | None:
    """The row at its best precision, None where none fits."""
    try:
        return fit_of_row(row, hardware, budget_bytes=budget_bytes)
    except (DoesNotFit, ModelNotFound):
        return None


def _row_of(text: str) -> tuple[Row, str | None]:
    name = parse_name(text, allow_path=True)
    if isinstance(name, CatalogueName):
        return resolve(name)
    raise ModelNotFound(text, hint=f"its size is known once it is here: `hearth pull {text}`")
