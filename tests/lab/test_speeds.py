"""What was measured decides which engine serves: as tables, and with real engines."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from codehearth.engines import choose_engine
from codehearth.engines.measured import Speed, fastest
from codehearth.lab.measure_engines import made_up_tokens
from codehearth.lab.result import Memory, Noise, Sample, Streams
from codehearth.lab.speeds import EngineSpeed, EngineSpeeds, keep_speeds, measured_speeds
from codehearth.models.hardware import Gpu, snapshot
from codehearth.models.weights import read_weights
from tests.cli.command_line import STARTER, Hearth, served
from tests.engine_environments import ENVIRONMENTS, installed
from tests.tiny_models import make_gguf

MACHINE = snapshot()
QUICK, SLOW = Speed(0.1, 100.0, "2026-11-26"), Speed(0.5, 20.0)


@pytest.fixture
def hearth(tmp_path: Path) -> Hearth:
    home = tmp_path / "home"
    home.mkdir()
    return Hearth(home)


def speeds(
    *, engine: str = "transformers", decode: float = 50.0, created_at: str = "2026-11-26T10:00:00"
) -> EngineSpeeds:
    sample = Sample(decode, decode, decode)
    one = EngineSpeed(
        label=engine,
        model="tiny",
        engine=engine,
        precision="",
        load_s=sample,
        ttft_s=Sample(0.1, 0.1, 0.1),
        streams=(Streams(1, sample, sample),),
        memory=Memory(1, 1),
    )
    return EngineSpeeds(
        id=f"{engine}-{created_at}",
        created_at=created_at,
        cpu_name=MACHINE.cpu_name,
        num_cores=MACHINE.num_cores,
        noise=Noise(0.0, 0.0, False),
        speeds=(one,),
    )


@pytest.mark.parametrize(
    ("measured", "chosen"),
    [
        ({}, None),
        ({"b": QUICK}, None),  # nothing to compare with
        ({"b": QUICK, "c": SLOW}, None),  # the preferred one may be faster still
        ({"a": SLOW, "b": QUICK}, "b"),
        ({"a": QUICK, "b": SLOW}, "a"),
        ({"a": Speed(0.1, 100.0), "b": Speed(0.1, 101.0)}, "a"),  # that is noise
        ({"a": SLOW, "elsewhere": QUICK}, None),
    ],
)
def test_a_measurement_counts_where_it_compares(
    measured: dict[str, Speed], chosen: str | None
) -> None:
    found = fastest(("a", "b", "c"), measured)

    assert (found and found[0]) == chosen
    if found is not None:
        assert "measured here" in found[1] and " s with " in found[1]


def test_the_newest_measurement_of_this_machine_and_model_is_read(tmp_path: Path) -> None:
    keep_speeds(speeds(decode=10, created_at="2026-11-25T10:00:00"), tmp_path)
    keep_speeds(speeds(decode=50), tmp_path)
    keep_speeds(replace(speeds(engine="vllm"), cpu_name="another"), tmp_path)
    (tmp_path / "engines" / "damaged.json").write_text('{"schema": 1}')

    found = measured_speeds(tmp_path, "tiny", MACHINE)

    assert found == {"transformers": Speed(0.1, 50.0, "2026-11-26")}
    assert measured_speeds(tmp_path, "another", MACHINE) == {}
    assert measured_speeds(tmp_path / "nowhere", "tiny", MACHINE) == {}


H200 = Gpu(0, "NVIDIA H200", "cuda", 140 << 30, 116 << 30)


def test_what_the_processor_needed_does_not_speak_for_a_gpu(tmp_path: Path) -> None:
    """Measured on a CPU, transformers lost to llama.cpp; so it did on the GPU that came later."""
    with_gpu = replace(MACHINE, gpus=(H200,))
    on_gpu = replace(speeds().speeds[0], memory=Memory(1, 1, gpu_predicted_bytes=1))
    keep_speeds(speeds(engine="llama.cpp"), tmp_path)
    keep_speeds(
        replace(
            speeds(engine="vllm"), gpus=("NVIDIA H200",), speeds=(replace(on_gpu, engine="vllm"),)
        ),
        tmp_path,
    )

    here, other = (
        measured_speeds(tmp_path, "tiny", machine)
        for machine in (with_gpu, replace(MACHINE, gpus=(replace(H200, name="NVIDIA L4"),)))
    )

    assert {name: speed.left_gpus_idle for name, speed in here.items()} == {
        "llama.cpp": True,
        "vllm": False,
    }
    assert set(other) == {"llama.cpp"}
    assert set(measured_speeds(tmp_path, "tiny", MACHINE)) == {"llama.cpp"}


def test_an_engine_that_would_use_the_gpu_is_not_chosen_by_what_the_processor_needed(
    tmp_path: Path,
) -> None:
    _pretend_installed(tmp_path / "transformers", devices=["cpu", "cuda: NVIDIA H200"])
    weights = read_weights(STARTER)
    measured = {"llama.cpp": SLOW, "transformers": replace(QUICK, left_gpus_idle=True)}

    chosen = choose_engine(weights, llama_server="off", environments=tmp_path, speeds=measured)

    assert chosen.engine.name == "llama.cpp"
    assert "measured" not in chosen.why[0]


def test_the_engine_that_was_faster_here_is_taken_and_the_reason_said(tmp_path: Path) -> None:
    """Both read the file; the rules alone prefer llama.cpp."""
    _pretend_installed(tmp_path / "transformers")
    weights = read_weights(STARTER)
    measured = {"llama.cpp": SLOW, "transformers": QUICK}

    by_rule, by_speed, wanted = (
        choose_engine(weights, llama_server="off", environments=tmp_path, **asked)  # type: ignore[arg-type]
        for asked in ({}, {"speeds": measured}, {"speeds": measured, "wanted": "llama.cpp"})
    )

    assert by_rule.engine.name == wanted.engine.name == "llama.cpp"
    assert by_speed.engine.name == "transformers"
    assert "measured here on 2026-11-26" in by_speed.why[0]
    assert wanted.why == ()


def test_tokens_are_all_over_the_vocabulary_and_in_it() -> None:
    tokens = made_up_tokens(364)

    assert min(tokens) == 0 and max(tokens) == 363 and len(set(tokens)) == 364


def test_an_engine_is_timed_and_its_speeds_are_kept(hearth: Hearth, tmp_path: Path) -> None:
    path = make_gguf(tmp_path / "tiny.gguf")

    done = hearth("measure", str(path), "--engines", "llamacpp", "--json")

    assert done.code == 0, done.err
    (one,) = done.document["speeds"]
    assert (one["engine"], one["model"], one["label"]) == ("llama.cpp", "tiny", "llama.cpp")
    assert [streams["num_streams"] for streams in one["streams"]] == [1, 8]
    assert one["memory"]["peak_bytes"] > path.stat().st_size
    (kept,) = (hearth.data / "lab" / "engines").glob("*.json")
    assert json.loads(kept.read_text()) == done.document
    assert set(measured_speeds(hearth.data / "lab", "tiny", MACHINE)) == {"llama.cpp"}


def test_two_engines_are_timed_and_the_server_takes_the_faster_one(hearth: Hearth) -> None:
    installed("transformers")
    hearth.data.mkdir(parents=True, exist_ok=True)
    (hearth.data / "engines").symlink_to(ENVIRONMENTS)

    done = hearth("measure", "starter", "--engines", "llama.cpp,transformers", "--json")
    with served(hearth, "-m", "starter"):
        loaded = hearth("run", "-m", "starter", "--max-tokens", "2", "hello")
        why = hearth("ps", "--json")

    assert done.code == loaded.code == 0, done.err + loaded.err
    first, second = (one["streams"][0]["decode_tokens_per_s"] for one in done.document["speeds"])
    assert first["median"] > second["median"]  # llama.cpp, with so small a model
    assert "engine llama.cpp: measured here" in why.out


def _pretend_installed(home: Path, *, devices: Sequence[str] = ()) -> None:
    """An environment as far as can be seen without starting it."""
    folder = home / "0a"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    record = {"folder": "0a", "device": "cpu", "version": "5.23.0", "digest": "d"}
    record |= {"facts": {"devices": list(devices)}}  # type: ignore[dict-item]
    (home / "environment.json").write_text(json.dumps(record))
