"""How a model is opened on a machine with GPUs, seen by what it will ask of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from engines.asking import pretend

from codehearth.errors import Unsupported
from codehearth.gateway import opening
from codehearth.gateway.choosing import chosen_for
from codehearth.gateway.stores import make_store
from codehearth.models.hardware import Gpu, Hardware, snapshot
from codehearth.pool import OpenModel, Room
from codehearth.pool.amount import Amount
from codehearth.settings import Settings
from tests.tiny_models import make_gguf

GIB = 1 << 30
FULL_GPU = Gpu(0, "a GPU", "cuda", 24 * GIB, 0)
UNIFIED_GPU = Gpu(0, "Apple GPU", "metal", 24 * GIB, 24 * GIB)


def open_starter(
    folder: Path, monkeypatch: pytest.MonkeyPatch, gpu: Gpu, *, free: Amount, capacity: Amount
) -> OpenModel:
    """The packaged model on a machine with one GPU, for an engine that can use it."""
    here = Hardware("Linux", "x86_64", "a CPU", 8.0, 4, 64 * GIB, 32 * GIB, (gpu,))
    monkeypatch.setattr(opening, "snapshot", lambda: here)
    monkeypatch.setattr(opening.Opener, "_as_seen_by", lambda self, engine, hardware: hardware)
    settings = Settings(data=folder)
    opener = opening.Opener(settings, make_store(settings))
    opened = asyncio.run(opener("starter", attempt=0, room=Room(free, capacity)))
    assert opened is not None
    return opened


def test_an_engine_that_reads_no_gguf_gets_the_same_model_as_a_checkpoint(tmp_path: Path) -> None:
    """`hearth serve -m starter --engine vllm` was refused, although the checkpoint is here too."""
    pretend(tmp_path / "engines", "vllm", devices=["cpu"])
    settings = Settings(data=tmp_path, engine="vllm")
    opener = opening.Opener(settings, make_store(settings))
    room = Room(Amount(32 * GIB), Amount(32 * GIB))

    opened = asyncio.run(opener("starter", attempt=0, room=room))

    assert opened is not None and (opened.engine, opened.facts.name) == ("vllm", "starter")
    assert any("vllm does not read the model's gguf" in one for one in opened.why)
    assert not opened.facts.takes_grammars


def test_a_gguf_with_transformers_is_not_made_to_begin_with_a_word(tmp_path: Path) -> None:
    """Each infilling at a word was refused: 'grammar' is not done by this engine."""
    pretend(tmp_path / "engines", "transformers", devices=["cpu"])
    settings = Settings(data=tmp_path, engine="transformers")
    opener = opening.Opener(settings, make_store(settings))
    room = Room(Amount(32 * GIB), Amount(32 * GIB))

    opened = asyncio.run(opener("starter", attempt=0, room=room))

    assert opened is not None and opened.engine == "transformers"
    assert not opened.facts.takes_grammars and opened.facts.takes_beginnings


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_transformers_makes_a_precision_of_the_checkpoint(tmp_path: Path, precision: str) -> None:
    """It read the GGUF, and failed at the start: both quantising and GGUF cannot be had."""
    pretend(tmp_path / "engines", "transformers", devices=["cpu"])
    settings = Settings(data=tmp_path, engine="transformers", precision=precision)
    opener = opening.Opener(settings, make_store(settings))
    room = Room(Amount(32 * GIB), Amount(32 * GIB))

    opened = asyncio.run(opener("starter", attempt=0, room=room))

    assert opened is not None and (opened.engine, opened.facts.name) == ("transformers", "starter")
    assert opened.facts.weights.kind == "safetensors"
    assert any(f"does not make {precision} of the model's gguf" in one for one in opened.why)


def test_a_gguf_without_a_checkpoint_is_refused_before_the_start(tmp_path: Path) -> None:
    pretend(tmp_path / "engines", "transformers", devices=["cpu"])
    store = make_store(settings := Settings(data=tmp_path, engine="transformers", precision="int4"))
    alone = store.find(str(make_gguf(tmp_path / "alone.gguf")), allow_path=True)

    with pytest.raises(Unsupported, match="int4 of checkpoints only") as told:
        chosen_for(settings, store, alone, snapshot())

    assert told.value.hint is not None and "checkpoint" in told.value.hint


def test_a_gpu_full_of_models_that_could_leave_is_planned_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_starter(
        tmp_path,
        monkeypatch,
        FULL_GPU,
        free=Amount(32 * GIB, 0),
        capacity=Amount(32 * GIB, 20 * GIB),
    )

    assert opened.footprint.gpu_bytes > 0, (
        "it would be computed by the CPU beside an idle model on the GPU"
    )


def test_a_gpu_that_other_programs_hold_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Amount(32 * GIB, 0)

    assert (
        open_starter(tmp_path, monkeypatch, FULL_GPU, free=room, capacity=room).footprint.gpu_bytes
        == 0
    )


def test_memory_that_a_gpu_shares_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Amount(32 * GIB, 0)

    opened = open_starter(tmp_path, monkeypatch, UNIFIED_GPU, free=room, capacity=room)

    assert opened.footprint.gpu_bytes == 0
    assert any("layers on the GPU" in reason for reason in opened.why)
    assert opened.footprint.host_bytes > 10 << 20
