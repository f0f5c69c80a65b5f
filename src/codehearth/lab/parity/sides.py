"""From what a user names to sides: which engine loads which weights in which precision.

1. Models, engines and precisions are lists; the longest says how many sides there are, a list of
   one holds for all, and the first side is the reference.
2. Without any of them, every engine here that loads the model is a side.
3. A precision is made at load where the engine does that (transformers), else it is the model of
   that precision on this disk.
4. An engine that does not read the model's files gets the same model in the other format, where
   that is here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codehearth.engines import ENGINE_NAMES, choose_engine, engines
from codehearth.engines.base import Available, Engine, Launch
from codehearth.engines.threads import batch_tokens_for, threads_for
from codehearth.engines.transformers import cannot_make
from codehearth.errors import InvalidRequest, ModelNotFound, Unsupported
from codehearth.lab.naming import base_of
from codehearth.lab.other_format import in_other_format
from codehearth.lab.parity.observing import Side
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.local_models import LocalModel, needs_code
from codehearth.models.parallel import gpu_share_of
from codehearth.models.planning import plan
from codehearth.models.precisions import normalised, same
from codehearth.models.prediction import prediction_of
from codehearth.models.store import Store
from codehearth.models.weights import read_weights

_CONTEXT_TOKENS = 2048
_MADE_AT_LOAD = ("bf16", "fp16", "fp32", "int8", "int4")
_SPELLINGS = {
    "llamacpp": "llama.cpp",
    "llama-cpp": "llama.cpp",
    "llamacpp-native": "llama-server",
    "hf": "transformers",
}
_COMPUTED_BITS = {"bf16": 16.0, "fp16": 16.0, "fp32": 32.0, "int8": 8.5, "int4": 4.5}


@dataclass(frozen=True)
class Bench:
    """Where sides come from: the models, the engines and the machine."""

    store: Store
    hardware: Hardware
    environments: Path
    llama_server: str = "auto"
    num_threads: int | None = None

    @property
    def engines(self) -> tuple[Engine, ...]:
        return engines(llama_server_setting=self.llama_server, environments=self.environments)


@dataclass(frozen=True)
class _Chosen:
    """A side before it has a label. `precision` is made at load; empty: as the weights are."""

    model: LocalModel
    weights: Weights
    engine: Engine
    precision: str = ""

    @property
    def words(self) -> tuple[str, str, str]:
        shown = self.precision or normalised(self.weights.precision)
        return self.model.name, self.engine.name, shown


def sides_of(
    bench: Bench,
    models: Sequence[str],
    engine_names: Sequence[str],
    precisions: Sequence[str],
    *,
    at_least: int = 2,
    say: Callable[[str], None],
) -> tuple[Side, ...]:
    """So many different sides at least, the reference first.

    Raises InvalidRequest where there are fewer, ModelNotFound with the command that
    makes a precision, and what choosing an engine raises.
    """
    engine_names = [_SPELLINGS.get(name, name) for name in engine_names]
    wanted = list(_combined(models, engine_names, precisions))
    if len(wanted) < at_least:
        engines_here = _all_engines(bench, _find(bench, models[0]))
        wanted = list(_combined(models, engines_here, precisions))
    chosen = [_choose(bench, *one, say=say) for one in wanted]
    if len(set(map(_identity, chosen))) < at_least:
        raise InvalidRequest(
            f"There is nothing to compare '{models[0]}' with: {chosen[0].engine.name} alone loads "
            "it here.",
            hint="--precisions q8_0,q4_k_m, another model's name, or an engine more: "
            "`hearth engines` lists them",
        )
    labels = labels_of([one.words for one in chosen])
    return tuple(_side(bench, one, label) for one, label in zip(chosen, labels, strict=True))


def labels_of(words: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """For each side, those of its words in which not all sides agree.

    >>> labels_of([("a", "llama.cpp", "q8_0"), ("a", "llama.cpp", "q4_k_m")])
    ('q8_0', 'q4_k_m')
    """
    telling = [len(set(column)) > 1 for column in zip(*words, strict=True)]
    return tuple(
        " ".join(word for word, tells in zip(row, telling, strict=True) if tells) or row[1]
        for row in words
    )


def _combined(
    models: Sequence[str], engine_names: Sequence[str], precisions: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    number = max(len(models), len(engine_names), len(precisions))
    columns = []
    for values in (models, engine_names or ("",), precisions or ("",)):
        if len(values) not in (1, number):
            raise InvalidRequest(
                f"{number} sides are asked for, and {len(values)} of {', '.join(values)}.",
                hint="name one for all sides, or one for each",
            )
        columns.append(values if len(values) == number else [values[0]] * number)
    yield from zip(*columns, strict=True)


def _identity(one: _Chosen) -> tuple[object, ...]:
    return one.model.path, one.engine.name, one.precision


def _all_engines(bench: Bench, model: LocalModel) -> list[str]:
    """Those that run here and read the model's files, or the same model's in the other format."""
    weights = read_weights(model.path)
    return [
        engine.name
        for engine in bench.engines
        if isinstance(engine.availability(), Available)
        and (engine.can_load(weights) is None or _in_other_format(bench, model, engine))
    ]


def _choose(
    bench: Bench, name: str, engine_name: str, precision: str, *, say: Callable[[str], None]
) -> _Chosen:
    model = _find(bench, name)
    precision = _spelled(precision)
    makes_at_load = precision in _MADE_AT_LOAD and not engine_name.startswith("llama")
    if precision and not makes_at_load:
        model = _in_precision(bench, model, precision)
        precision = ""
    weights = read_weights(model.path)
    if engine_name:
        engine = _named(bench, engine_name)
        if engine is not None and (engine.can_load(weights) or cannot_make(precision, weights)):
            found = _in_other_format(bench, model, engine, precision)
            if found is not None:
                say(f"{engine.name} does not read the files of {model.name}: it gets {found.name}")
                model, weights = found, read_weights(found.path)
    engine = _engine(bench, weights, engine_name)
    if precision and engine.name.startswith("llama"):
        return _choose(bench, name, engine.name, precision, say=say)
    if reason := cannot_make(precision, weights):
        raise Unsupported(
            f"{reason[0].upper()}{reason[1:]}.", hint="name a checkpoint of this model"
        )
    return _Chosen(model, weights, engine, precision)


def _spelled(precision: str) -> str:
    """As it was written where that is a checkpoint's word: `fp16` is not GGUF's `f16` here."""
    return precision if precision in _MADE_AT_LOAD else normalised(precision)


def _find(bench: Bench, name: str) -> LocalModel:
    return bench.store.find(name, allow_path=True)


def _in_precision(bench: Bench, model: LocalModel, precision: str) -> LocalModel:
    """The model of that precision on this disk."""
    precision = normalised(precision)
    if model.format == "gguf" and same(read_weights(model.path).precision, precision):
        return model
    name = f"{base_of(model)}:{precision}"
    try:
        return _find(bench, name)
    except (ModelNotFound, InvalidRequest) as error:
        raise ModelNotFound(
            name, hint=f"`hearth quantize {model.name} --to {precision}` makes it"
        ) from error


def _named(bench: Bench, name: str) -> Engine | None:
    """The engine of that very name, else one that users mean by it."""
    meant = ENGINE_NAMES.get(name, frozenset())
    exact = (engine for engine in bench.engines if engine.name == name)
    return next(exact, None) or next((e for e in bench.engines if e.name in meant), None)


def _engine(bench: Bench, weights: Weights, name: str) -> Engine:
    named = _named(bench, name) if name else None
    if named is not None and named.name == name and named.can_load(weights) is None:
        if isinstance(named.availability(), Available):
            return named
    elif name and named is None:
        raise InvalidRequest(
            f"There is no engine '{name}'.", hint=f"those are {', '.join(ENGINE_NAMES)}"
        )
    return choose_engine(
        weights,
        wanted=name if name in ENGINE_NAMES else "auto",
        llama_server=bench.llama_server,
        environments=bench.environments,
    ).engine


def _in_other_format(
    bench: Bench, model: LocalModel, engine: Engine, precision: str = ""
) -> LocalModel | None:
    def is_read(weights: Weights) -> bool:
        return engine.can_load(weights) is None and cannot_make(precision, weights) is None

    return in_other_format(bench.store, model, is_read=is_read)


def _side(bench: Bench, one: _Chosen, label: str) -> Side:
    weights, hardware = one.weights, bench.hardware
    num_threads = bench.num_threads or threads_for(
        hardware.num_cores, hardware.num_physical_cores, num_parameters=weights.num_parameters
    )
    chosen = plan(
        weights,
        hardware,
        context_tokens=min(_CONTEXT_TOKENS, weights.context_tokens),
        num_slots=1,
        gpu_layers=None if one.engine.sees_gpus else 0,
        predict_for_engine=prediction_of(one.engine.name, one.precision or "auto"),
    )
    launch = Launch(
        path=one.model.path,
        alias=one.model.name,
        context_tokens=chosen.context_tokens,
        num_slots=1,
        num_threads=num_threads,
        gpu_layers=chosen.gpu_layers,
        batch_tokens=batch_tokens_for(
            weights.num_parameters, num_threads, gpu_layers=chosen.gpu_layers
        ),
        mapped=chosen.mapped,
        precision=one.precision or "auto",
        stored_precision=weights.precision,
        allows_code=needs_code(one.model),
        kv_bytes=chosen.footprint.kv_bytes,
        gpu_share=gpu_share_of(chosen.footprint, hardware),
    )
    return Side(label, one.engine, launch, weights, _bits(one))


def _bits(one: _Chosen) -> float:
    """Of what is computed with: weights that were coarse stay so in a finer type."""
    made = _COMPUTED_BITS.get(one.precision)
    return one.weights.bits_per_weight if made is None else min(made, one.weights.bits_per_weight)
