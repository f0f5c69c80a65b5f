"""A name becomes a child: find the weights, plan the memory, choose the engine.

This is where settings turn into the plain values that the rooms below take. Nothing is started
here; the pool does that when there is room.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from codehearth.engines import ENGINE_NAMES
from codehearth.engines.base import Adapter, Engine, Launch, Parallel
from codehearth.engines.process import EngineProcess, Patience
from codehearth.engines.remote import REMOTE_KEY_VARIABLE, Remote
from codehearth.engines.threads import batch_tokens_for, threads_for
from codehearth.errors import DoesNotFit
from codehearth.gateway.choosing import chosen_for
from codehearth.gateway.infilling.proving import ErrandChild, prove_when_idle
from codehearth.models.facts import UNKNOWN_WEIGHTS, Weights
from codehearth.models.hardware import Hardware, snapshot
from codehearth.models.infilling import InfillProofs
from codehearth.models.local_models import needs_code
from codehearth.models.parallel import gpu_share_of, tensor_parallel_for
from codehearth.models.planning import Plan, plan
from codehearth.models.prediction import prediction_of
from codehearth.models.remotes import parse_remotes
from codehearth.models.store import LocalModel, Store
from codehearth.pool.amount import Amount
from codehearth.pool.child import Child, ModelFacts, OpenModel, Room
from codehearth.settings import Settings
from codehearth.text.fim import fim_format_of

_COMFORTABLE_CONTEXT_TOKENS = 8192
_LEAST_CONTEXT_TOKENS = 512
# Engines that put the whole model on GPUs, where there are some.
_NEVER_SPLIT = frozenset({"vllm", "lmdeploy"})
_REMOTE_SLOTS = 64  # requests that one other server is given at a time
_REMOTE_BYTES = 48 << 20  # measured: the child that passes them on


class Opener:
    """Opens models for the pool, as the settings say."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    async def __call__(self, name: str, *, attempt: int, room: Room) -> OpenModel | None:
        return await asyncio.to_thread(self._open, name, attempt, room)

    def _open(self, name: str, attempt: int, room: Room) -> OpenModel | None:
        models = self._store.served_by(name)
        model = models[0]
        if model.format == "remote":
            return self._open_remote(model) if attempt == 0 else None
        machine = snapshot()
        model, weights, choice = chosen_for(self._settings, self._store, model, machine)
        engine = choice.engine
        hardware = self._as_seen_by(engine, machine)
        num_threads = self._settings.threads or threads_for(
            hardware.num_cores,
            hardware.num_physical_cores,
            num_parameters=weights.num_parameters,
        )
        asked = self._planning(weights, engine, hardware, num_threads)
        adapters = _adapters(models)
        adapter_bytes = Amount(sum(map(_size_of, (one.path for one in adapters))))
        room = Room(room.free - adapter_bytes, room.capacity - adapter_bytes)
        chosen = self._plan(asked, weights, room)
        if attempt > 0:
            smaller = _smaller(asked, chosen, room)
            if smaller is None:
                return None
            chosen = smaller
        launch = replace(
            _launch(model, name, weights, chosen, num_threads),
            adapters=adapters,
            precision=self._settings.precision,
            allows_code=needs_code(model),
            parallel=self._parallel(weights, hardware),
            kv_bytes=chosen.footprint.kv_bytes,
            gpu_share=gpu_share_of(chosen.footprint, hardware),
            kv_precision=self._settings.kv_precision,
            speculates=self._settings.speculate,
        )
        process = self._process(engine, launch)
        facts = ModelFacts(
            name=name,
            context_tokens=chosen.context_tokens,
            num_slots=chosen.num_slots,
            weights=weights,
            row=model.row,
            scores_prompts=engine.scores_prompts,
            takes_grammars=engine.name in ENGINE_NAMES["llama.cpp"],
            takes_beginnings=engine.name == "transformers",
            adapters=tuple(one.path for one in adapters),
        )
        return OpenModel(
            process=self._proving(process, model, weights, engine),
            footprint=Amount(chosen.host_bytes, chosen.gpu_bytes) + adapter_bytes,
            facts=facts,
            engine=engine.name,
            why=choice.why + chosen.why + _why_together(adapters),
        )

    def _as_seen_by(self, engine: Engine, hardware: Hardware) -> Hardware:
        """The machine without GPUs that the engine cannot use, and with those of a Ray cluster.

        Each stage of the pipeline is then taken for a machine like this one.
        """
        if not engine.sees_gpus:
            return replace(hardware, gpus=())
        if self._settings.ray and engine.name in _NEVER_SPLIT:
            return replace(hardware, gpus=hardware.gpus * self._settings.pipeline_parallel)
        return hardware

    def _parallel(self, weights: Weights, hardware: Hardware) -> Parallel:
        settings = self._settings
        tensor = settings.tensor_parallel or tensor_parallel_for(
            len(hardware.gpus) // settings.pipeline_parallel, weights.num_heads
        )
        return Parallel(tensor, settings.pipeline_parallel, settings.ray)

    def _process(self, engine: Engine, launch: Launch) -> EngineProcess:
        return EngineProcess(
            launch.alias,
            partial(engine.command, launch),
            log_path=self._settings.data / "logs" / f"{_file_name(launch.alias)}.log",
            patience=Patience(start_s=self._settings.load_timeout),
        )

    def _open_remote(self, model: LocalModel) -> OpenModel:
        """A model of other servers: what is known of it is its name."""
        servers = parse_remotes(self._settings.remotes)[model.name]
        engine = Remote(servers, key=os.environ.get(REMOTE_KEY_VARIABLE, ""), ours=dict(os.environ))
        num_slots = self._settings.slots or _REMOTE_SLOTS * len(servers)
        launch = Launch(model.path, model.name, 0, num_slots, num_threads=1)
        process = self._process(engine, launch)
        facts = ModelFacts(
            name=model.name,
            context_tokens=0,
            num_slots=num_slots,
            weights=UNKNOWN_WEIGHTS,
            takes_grammars=False,
        )
        return OpenModel(
            process=process,
            footprint=Amount(_REMOTE_BYTES),
            facts=facts,
            engine=engine.name,
            why=(f"served by {engine.addresses}",),
        )

    def _proving(
        self, process: Child, model: LocalModel, weights: Weights, engine: Engine
    ) -> Child:
        """The child; where it is not known yet whether the model can infill, with that errand."""
        preferred = model.row.fim if model.row else None
        format_name = fim_format_of(weights.fim_marks, preferred=preferred)
        proofs = InfillProofs(self._settings.data)
        if format_name is None or weights.is_embedding_model or proofs.find(model.path):
            return process
        errand = partial(
            prove_when_idle,
            name=model.name,
            format_name=format_name,
            weights=weights,
            engine=engine.name,
            keep=partial(proofs.keep, model.path),
        )
        return ErrandChild(process, errand)

    def _plan(self, asked: Callable[..., Plan], weights: Weights, room: Room) -> Plan:
        """Within what is free if that is comfortable, else within what there could be.

        Comfortable is a context of some length, and to be as much on the GPUs as can be.
        """
        asked = partial(
            asked,
            context_tokens=self._settings.context or None,
            num_slots=self._settings.slots or None,
        )
        try:
            within_free = asked(**_budget(room.free))
        except DoesNotFit:
            return asked(**_budget(room.capacity))
        if room.capacity.fits(room.free):
            return within_free
        is_long = within_free.context_tokens >= min(
            weights.context_tokens, _COMFORTABLE_CONTEXT_TOKENS
        )
        within_capacity = asked(**_budget(room.capacity))
        if is_long and within_free.gpu_layers >= within_capacity.gpu_layers:
            return within_free
        return within_capacity

    def _planning(
        self, weights: Weights, engine: Engine, hardware: Hardware, num_threads: int
    ) -> Callable[..., Plan]:
        """The plans of these weights on this machine; budget, context and slots are still open."""
        layers = None if self._settings.gpu_layers < 0 else self._settings.gpu_layers
        if layers is None and hardware.gpus and engine.name in _NEVER_SPLIT:
            layers = weights.num_layers + 1
        likely_layers = weights.num_layers if hardware.gpus and layers is None else layers or 0
        return partial(
            plan,
            weights,
            hardware,
            gpu_layers=layers,
            batch_tokens=batch_tokens_for(
                weights.num_parameters, num_threads, gpu_layers=likely_layers
            ),
            predict_for_engine=prediction_of(engine.name, self._settings.precision),
        )


def _launch(
    model: LocalModel, process: str, weights: Weights, chosen: Plan, num_threads: int
) -> Launch:
    return Launch(
        path=model.path,
        alias=process,
        context_tokens=chosen.context_tokens,
        num_slots=chosen.num_slots,
        num_threads=num_threads,
        gpu_layers=chosen.gpu_layers,
        is_embedding=weights.is_embedding_model,
        batch_tokens=batch_tokens_for(
            weights.num_parameters, num_threads, gpu_layers=chosen.gpu_layers
        ),
        mapped=chosen.mapped,
        stored_precision=weights.precision,
        chat_template=model.chat_template,
        own_template=weights.chat_template or "",
    )


def _adapters(models: Iterable[LocalModel]) -> tuple[Adapter, ...]:
    return tuple(Adapter(one.name, one.adapter) for one in models if one.adapter is not None)


def _why_together(adapters: Sequence[Adapter]) -> tuple[str, ...]:
    names = ", ".join(one.name for one in adapters)
    return (f"adapters on one base: {names}",) if adapters else ()


def _size_of(path: Path) -> int:
    """Of a file, or of all in a folder."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())


def _smaller(asked: Callable[..., Plan], chosen: Plan, room: Room) -> Plan | None:
    """After the engine ran out of memory: half the slots, or half the context of the last one."""
    slots, context = chosen.num_slots // 2, chosen.context_tokens
    if slots < 1:
        slots, context = 1, context // 2
    if context < _LEAST_CONTEXT_TOKENS:
        return None
    return asked(context_tokens=context, num_slots=slots, **_budget(room.capacity))


def _budget(amount: Amount) -> dict[str, int]:
    return {"budget_bytes": amount.host_bytes, "gpu_budget_bytes": amount.gpu_bytes}


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)[:100]
