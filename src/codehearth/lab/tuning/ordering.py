"""From an order, as a command or the page gives it, to a job that can be started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from codehearth.engines.threads import threads_for
from codehearth.errors import InvalidRequest
from codehearth.lab.bases import checkpoint_of, gguf_of
from codehearth.lab.naming import base_of
from codehearth.lab.tuning import trainer
from codehearth.lab.tuning.evaluating import AUTO
from codehearth.lab.tuning.examples import Example
from codehearth.lab.tuning.formats import read_data
from codehearth.lab.tuning.jobs import Jobs
from codehearth.lab.tuning.preparing import Asked, Prepared, machine_of, prepare
from codehearth.lab.tuning.repository import examples_of
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.local_models import LocalModel
from codehearth.models.pull import free_bytes_at
from codehearth.models.store import Store
from codehearth.models.tuned import require_name
from codehearth.models.weights import read_weights

if TYPE_CHECKING:
    from codehearth.lab.tuning.tune import Place


@dataclass(frozen=True)
class Order:
    """What is to be tuned on what. Rows come from `data` (a file's path) or from `repo`.

    `numbers` are hyperparameters by name; None, or left out, takes the preset's. `evaluate` is the
    suite that base and result are asked at last (`lab.tuning.evaluating`).
    """

    model: str
    data: Path | None = None
    repo: Path | None = None
    name: str | None = None
    system: str | None = None
    expect: str | None = None
    held_share: float = 0.1
    long_rows: Literal["drop", "cut"] = "drop"
    quantise: str | None = None
    gpus: int | None = None
    precision: str = "f16"
    seed: int = 0
    threads: int | None = None
    evaluate: str = AUTO
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """A job that can be started; `why` tells what was chosen."""

    prepared: Prepared
    base: LocalModel
    weights: Weights
    place: Place
    why: tuple[str, ...]


@dataclass(frozen=True)
class House:
    """What an order is carried out with. `folder` is the data folder."""

    folder: Path
    store: Store
    environments: Path
    hardware: Hardware


def ready(order: Order, house: House) -> Ready:
    """The job of an order. The rows are read first, the model's header next, no weights at all.

    Raises InvalidRequest, ModelNotFound, Unsupported, EngineMissing and DoesNotFit.
    """
    found = _rows(order)
    base = checkpoint_of(house.store, order.model, "training")
    weights = read_weights(base.path)
    name = require_name(order.name or f"{base_of(base).rpartition('/')[2]}-tuned")
    house.store.require_free_name(name)
    environment = trainer.installed(house.environments)
    machine = machine_of(
        house.hardware,
        tuple(environment.facts.get("devices") or ()),
        num_threads=order.threads or _threads(house.hardware, weights),
        num_gpus=order.gpus,
    )
    prepared = prepare(
        _asked(order, name, base, found), weights, machine, fim=base.row.fim if base.row else None
    )
    jobs = Jobs(house.folder / "tune")
    from codehearth.lab.tuning.tune import (
        Place,  # brings numpy, which a server's start does without
    )

    place = Place(jobs, house.store.tuned, environment, gguf_of(house.store, base), free_bytes_at)
    return Ready(prepared, base, weights, place, (*found.why, *prepared.why))


@dataclass(frozen=True)
class _Rows:
    name: str
    examples: tuple[Example, ...]
    held_out: tuple[Example, ...] | None = None
    why: tuple[str, ...] = ()


def _rows(order: Order) -> _Rows:
    if (order.data is None) == (order.repo is None):
        raise InvalidRequest("Name either a file of rows or a repository.", param="data")
    if order.repo is not None:
        found = examples_of(order.repo, seed=order.seed)
        return _Rows(found.name, found.training, found.held_out, found.why)
    assert order.data is not None
    if order.data.is_dir():
        raise InvalidRequest(
            f"'{order.data}' is a folder.",
            hint="`--repo` learns from the functions in a folder, `--data` from one file of rows",
            param="data",
        )
    try:
        content = order.data.read_bytes()
    except OSError as error:
        raise InvalidRequest(
            f"'{order.data}' cannot be read ({error.strerror}).", param="data"
        ) from error
    return _Rows(order.data.name, read_data(content, order.data.name).examples)


def _threads(hardware: Hardware, weights: Weights) -> int:
    return threads_for(
        hardware.num_cores,
        hardware.num_physical_cores,
        num_parameters=weights.num_parameters,
    )


def _asked(order: Order, name: str, base: LocalModel, rows: _Rows) -> Asked:
    return Asked(
        name=name,
        base=str(base.path) if base.source == "path" else base.name,
        data_name=rows.name,
        examples=rows.examples,
        held_out=rows.held_out,
        system=order.system,
        numbers=order.numbers,
        held_share=order.held_share,
        seed=order.seed,
        quantise=order.quantise,
        long_rows=order.long_rows,
        expect=order.expect,
        precision=order.precision,
    )
