"""int8, int4 and gptq4: checkpoints, made by the libraries in the environment of transformers."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codehearth.engines import transformers_at
from codehearth.engines.transformers import Transformers
from codehearth.engines.vllm import Vllm
from codehearth.errors import DiskFull, DoesNotFit, EngineMissing
from codehearth.lab import quantize_checkpoint, scoring
from codehearth.lab.candidates import Listener, Place, candidates_of
from codehearth.lab.keeping import kept
from codehearth.lab.scoring import score, tokenize
from codehearth.lab.texts import calibration_text, packaged_text
from codehearth.models.hardware import snapshot
from codehearth.models.made import Made, MadeModel
from codehearth.models.store import Store
from codehearth.models.weights import read_weights
from tests.cli.command_line import STARTER, Hearth
from tests.engine_environments import ENVIRONMENTS, installed
from tests.engines.test_transformers import installed as pretended
from tests.lab.checkpoints import Sizes, make_checkpoint
from tests.starter_files import store_at

# Some 3000 tokens of the tiny tokenizer.
TEXT = "\n".join(f"def add_{n}(a, b):\n    return a + b * {n}" for n in range(150))


def room(_: Path) -> int:
    return 1 << 40


def with_engines(hearth: Hearth, quantiser: str) -> None:
    """The real environment of transformers, where it has what quantises; else skipped."""
    if quantiser not in installed("transformers").facts["quantisers"]:
        pytest.skip(f"{quantiser} is not in the environment of transformers")
    hearth.data.mkdir(parents=True, exist_ok=True)
    (hearth.data / "engines").symlink_to(ENVIRONMENTS)


# --- without the environment ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "said", "command"),
    [
        ("int8", "bitsandbytes makes int8", "`hearth engines install transformers`"),
        ("gptq4", "GPTQModel makes gptq4", "`hearth engines install transformers --with gptq`"),
    ],
)
def test_the_command_that_brings_what_is_missing_is_told(
    precision: str, said: str, command: str, hearth: Hearth
) -> None:
    refused = hearth("quantize", "starter", "--to", f"q4_k_m,{precision}")

    assert refused.code == 3
    assert said in refused.err and command in refused.err
    assert not (hearth.data / "made").exists()


def test_an_environment_without_gptqmodel_is_told_apart(tmp_path: Path) -> None:
    source = store_at(tmp_path).find("starter:bf16")

    with pytest.raises(EngineMissing) as told:
        quantize_checkpoint.plan("gptq4", source, Transformers(pretended()))

    assert "not beside the engine transformers" in told.value.message
    assert "--with gptq" in (told.value.hint or "")


def test_a_gguf_alone_cannot_become_a_checkpoint(hearth: Hearth) -> None:
    (hearth.home / "own.gguf").write_bytes(STARTER.read_bytes())

    refused = hearth("quantize", "./own.gguf", "--to", "int8")

    assert refused.code == 2
    assert "is here as GGUF only; int8 needs the checkpoint" in refused.err


@pytest.mark.parametrize(
    ("precisions", "file", "said"),
    [
        ("int8,int4", "text.py", "int8 and int4 take no calibration"),
        ("gptq4", "matrix.dat", "is an importance matrix; gptq4 is calibrated on a text"),
        ("int7", None, "int8, int4, gptq4"),
    ],
)
def test_what_does_not_go_together_is_refused(
    precisions: str, file: str | None, said: str, hearth: Hearth
) -> None:
    (hearth.home / "text.py").write_text(TEXT)
    (hearth.home / "matrix.dat").write_bytes(b"\x01\x00\x00\x00\x04\x00\x00\x00name")
    options = ("--calibration", file) if file else ()

    refused = hearth("quantize", "starter", "--to", precisions, *options)

    assert refused.code == 2
    assert said in refused.err


def test_sizes_and_jobs_are_told_apart(tmp_path: Path) -> None:
    source = store_at(tmp_path).find("starter:bf16")
    found = {name: quantize_checkpoint.plan(name, source, ENGINE) for name in ("int8", "int4")}

    assert found["int4"].num_bytes < found["int8"].num_bytes < source.num_bytes
    assert found["int4"].identity() != found["int8"].identity()


def test_a_full_disk_is_seen_before_any_work(tmp_path: Path) -> None:
    source = store_at(tmp_path).find("starter:bf16")

    with pytest.raises(DiskFull, match="are to be written"):
        quantize_checkpoint.run(
            quantize_checkpoint.plan("int8", source, ENGINE), Made(tmp_path / "made"),
            MadeModel("starter", "int8"), num_threads=1, free_bytes=lambda _: 1 << 20,
            step=lambda *_: None,
        )  # fmt: skip

    assert not list((tmp_path / "made").glob("*.unfinished"))


def test_too_little_memory_is_told_with_a_way_out(tmp_path: Path) -> None:
    found = quantize_checkpoint.plan("int8", store_at(tmp_path).find("starter:bf16"), ENGINE)

    quantize_checkpoint.require_memory(found, 2 << 30)
    with pytest.raises(DoesNotFit, match=r"1\.0 GiB of memory; 1000 MiB are free") as told:
        quantize_checkpoint.require_memory(found, 1000 << 20)

    assert "q4_k_m" in (told.value.hint or "")


def test_nothing_is_measured_on_the_text_that_it_was_calibrated_on() -> None:
    lines = set(calibration_text().content.splitlines())

    shared = [one for one in packaged_text().content.splitlines() if len(one) > 60 and one in lines]
    assert len(shared) < 20
    assert len(calibration_text().content) > 300_000


ENGINE = Transformers(pretended())


# --- with it --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hearth]:
    """A home with the starter in int8 and in int4."""
    home = tmp_path_factory.mktemp("made")
    hearth = Hearth(home)
    with_engines(hearth, "bitsandbytes")
    for precision in ("int8", "int4"):
        told = hearth("quantize", "starter", "--to", precision, "--json")
        assert told.code == 0, told.err
        assert [one["name"] for one in told.document] == [f"starter:{precision}"]
        assert "quantising" in told.err
    yield hearth


def test_what_bitsandbytes_makes_is_a_model_like_any_other(made: Hearth) -> None:
    listed = {one["name"]: one for one in made("ls", "--json").document}
    again = made("quantize", "starter", "--to", "int8")

    for precision in ("int8", "int4"):
        foretold = quantize_checkpoint.plan(
            precision, store_at(made.data).find("starter:bf16"), transformers_at(ENVIRONMENTS)
        )
        weights_file = made.data / "made" / f"starter-{precision}" / "model.safetensors"
        assert foretold.num_bytes == pytest.approx(weights_file.stat().st_size, rel=0.02)
    assert listed["starter:int8"]["num_bytes"] > listed["starter:int4"]["num_bytes"]
    assert "is there already" in again.err
    assert {file.state for file in Store(made.data).verify("starter:int4")} == {"ok"}
    weights = read_weights(made.data / "made" / "starter-int4")
    whole = read_weights(made.data / "starter-bf16")
    assert weights.precision == "INT4 (BITSANDBYTES)"
    assert weights.num_parameters == whole.num_parameters
    assert (weights.chat_template, weights.token_ids) == (whole.chat_template, whole.token_ids)


def test_what_was_saved_answers_as_what_is_made_at_load(made: Hearth, tmp_path: Path) -> None:
    """nf4 that was saved behind a first step read back as noise."""
    engine = transformers_at(ENVIRONMENTS)
    model = store_at(made.data).find("starter:bf16")
    listener = Listener(say=lambda _: None, step=lambda *_: None)
    scores = {}
    for place_of in (Made(made.data / "made"), Made(tmp_path / "made")):
        place = Place(place_of, tmp_path, room, engine)
        found, missing = candidates_of(model, ("int4",), place, snapshot(), listener)
        assert not missing and found[1].is_packed is (place_of.folder != tmp_path / "made")
        tokens, vocabulary = tokenize(found[0].path, TEXT)
        windows = scoring.cut(
            tokens, vocabulary_size=vocabulary, context_tokens=64, max_windows=4, num_prompts=1
        )
        with kept(windows, "", tmp_path, room) as keeping:
            for one in found:
                scores[place_of.folder, one.precision] = score(
                    one.path, windows, keeping.logits, is_reference=one.is_reference, num_threads=1,
                    done=lambda _: None, loaded=one.loading,
                )  # fmt: skip

    packed, loaded = scores[made.data / "made", "int4"], scores[tmp_path / "made", "int4"]
    assert 0 < np.mean(packed.kl) < 0.5
    assert np.allclose(packed.nll, loaded.nll, atol=0.02)


def test_transformers_serves_it_and_others_say_that_they_do_not(made: Hearth) -> None:
    answer = made("complete", "-m", "starter:int8", "--max-tokens", "8", stdin="def add(a, b):")

    assert answer.code == 0, answer.err
    assert "return a + b" in answer.out or '"""' in answer.out
    weights = read_weights(made.data / "made" / "starter-int8")
    vllm = Vllm(replace(pretended(), engine="vllm"))
    assert "bitsandbytes has packed" in (vllm.can_load(weights) or "")


def test_it_is_removed_with_its_folder(made: Hearth) -> None:
    folder = made.data / "made" / "gone-int8"
    source = made.data / "made" / "starter-int8"
    record = json.loads(source.with_name("starter-int8.json").read_text())
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    folder.with_name("gone-int8.json").write_text(json.dumps({**record, "base": "gone"}))

    removed = made("rm", "gone:int8", "--yes")

    assert removed.code == 0, removed.err
    assert not folder.exists() and source.exists()


def test_a_run_that_was_killed_leaves_no_model_and_begins_anew(hearth: Hearth) -> None:
    with_engines(hearth, "bitsandbytes")
    make_checkpoint(hearth.home / "tiny")
    unfinished = hearth.data / "made" / "tiny-int8.unfinished"

    with hearth.started("quantize", "./tiny", "--to", "int8") as process:
        deadline = time.monotonic() + 60
        while not unfinished.exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert hearth("show", "tiny:int8").code == 4

    again = hearth("quantize", "./tiny", "--to", "int8")

    assert again.code == 0, again.err
    assert not unfinished.exists()
    assert hearth("show", "tiny:int8").code == 0


def test_a_gptq_run_that_was_killed_goes_on_behind_the_layers_that_were_done(
    hearth: Hearth,
) -> None:
    with_engines(hearth, "gptqmodel")
    make_checkpoint(hearth.home / "tiny", "LlamaForCausalLM", Sizes(layers=3))
    (hearth.home / "calls.py").write_text(TEXT)
    order = ("quantize", "./tiny", "--to", "gptq4", "--calibration", "calls.py")
    unfinished = hearth.data / "made" / "tiny-gptq4.unfinished"

    with hearth.started(*order) as process:
        deadline = time.monotonic() + 120
        while not list(unfinished.glob("kept-*/CURRENT")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    again = hearth(*order)
    resumed = tensors_of(hearth.data / "made" / "tiny-gptq4")
    assert hearth("rm", "tiny:gptq4", "--yes").code == 0
    whole = hearth(*order)

    assert again.code == 0, again.err
    assert "going on where it was stopped" in again.err
    assert "going on" not in whole.err
    assert not unfinished.exists()
    assert resumed == tensors_of(hearth.data / "made" / "tiny-gptq4")


def tensors_of(folder: Path) -> dict[str, bytes]:
    """Each tensor's bytes, wherever they lie in the file."""
    raw = (folder / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    header.pop("__metadata__", None)
    return {
        name: raw[start + one["data_offsets"][0] : start + one["data_offsets"][1]]
        for name, one in header.items()
    }


def test_gptq_is_calibrated_made_and_measured(hearth: Hearth, tmp_path: Path) -> None:
    with_engines(hearth, "gptqmodel")
    make_checkpoint(hearth.home / "tiny")
    (hearth.home / "short.py").write_text("print(1)\n")
    (hearth.home / "calls.py").write_text(TEXT)
    order = ("quantize", "./tiny", "--to", "gptq4", "--threads", "2", "--calibration")
    short = hearth(*order, "short.py")
    assert short.code == 2 and "at least 2048 are needed" in short.err
    assert not list((hearth.data / "made").glob("tiny-gptq4*[!k]"))

    told = hearth(*order, "calls.py", "--json")

    assert told.code == 0, told.err
    assert "layer 2 of 2" in told.err
    assert not (hearth.home / "logs").exists()  # GPTQModel left its own where it was started
    path = Path(told.document[0]["path"])
    weights = read_weights(path)
    assert weights.precision == "INT4 (GPTQ)"
    assert weights.num_parameters == read_weights(hearth.home / "tiny").num_parameters
    assert {file.name for file in path.iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    assert Vllm(replace(pretended(), engine="vllm")).can_load(weights) is None
    said: list[str] = []
    engine, store = transformers_at(ENVIRONMENTS), Store(hearth.data)
    model = store.find(str(hearth.home / "tiny"), allow_path=True)
    found, missing = candidates_of(
        model, ("gptq4",), Place(store.made, tmp_path, room, engine), snapshot(),
        Listener(say=said.append, step=lambda *_: None),
    )  # fmt: skip
    assert not missing and "calibrated on calls.py" in said[0]
    tokens, vocabulary = tokenize(found[0].path, TEXT)
    windows = scoring.cut(
        tokens, vocabulary_size=vocabulary, context_tokens=64, max_windows=4, num_prompts=1
    )
    with kept(windows, "", tmp_path, room) as keeping:
        _, packed = (
            score(
                one.path, windows, keeping.logits, is_reference=one.is_reference, num_threads=1,
                done=lambda _: None, loaded=one.loading,
            )
            for one in found
        )  # fmt: skip
    assert 0 < np.mean(packed.kl) < 0.1
