"""Measuring the starter, through the command line and with real children."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from codehearth.engines import transformers_at
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.installed import Installed
from codehearth.engines.llama_server import LlamaServer
from codehearth.engines.transformers import Transformers
from codehearth.errors import BadWeights, DiskFull, Overloaded
from codehearth.lab import scoring
from codehearth.lab.candidates import Candidate, Listener, Place, candidates_of
from codehearth.lab.keeping import kept
from codehearth.lab.sandbox import protections
from codehearth.lab.scoring import score, tokenize
from codehearth.lab.source import gguf_source
from codehearth.models.hardware import Gpu, Hardware, snapshot
from codehearth.models.made import Made
from codehearth.models.weights import read_weights
from tests.cli.command_line import STARTER, Hearth, served
from tests.engine_environments import installed
from tests.lab.checkpoints import make_checkpoint
from tests.lab.test_quantize import quantised, room
from tests.starter_files import starter_checkpoint, store_at
from tests.tiny_gptq import tiny_gptq
from tests.tiny_models import byte_letters, make_gguf

TEXT = "def add(first, second):\n    return first + second\n\n\n" * 60


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Hearth, Mapping[str, Any]]:
    """The starter and its two-bit version, on a short text."""
    home = tmp_path_factory.mktemp("measured")
    hearth = Hearth(home)
    (home / "text.py").write_text(TEXT)
    done = hearth(
        "measure", "starter", "--precisions", "q2_k,gptq4", "--context", "64",
        "--text", "text.py", "--json", timeout_s=300,
    )  # fmt: skip
    assert done.code == 0, done.err
    return hearth, done.document


def test_every_figure_is_there(measured: tuple[Hearth, Mapping[str, Any]]) -> None:
    _, result = measured
    reference, small = result["precisions"]

    assert result["schema"] == 1
    assert (reference["precision"], small["precision"]) == ("q8_0", "q2_k")
    assert reference["is_reference"] and reference["loss"]["kl"] is None
    assert small["file"]["num_bytes"] < reference["file"]["num_bytes"] / 2
    assert small["loss"]["log_ratio"]["standard_error"] > 0
    kl = small["loss"]["kl"]
    assert 0 < kl["mean"]["low"] < kl["mean"]["value"] < kl["mean"]["high"] < kl["max"]
    assert 0 < small["loss"]["top_1_agreement"]["value"] < 1
    for one in (reference, small):
        assert len(one["load_s"]["values"]) == 3
        assert [streams["num_streams"] for streams in one["streams"]] == [1, 8]
        for streams in one["streams"]:
            speed = streams["decode_tokens_per_s"]
            assert 0 < speed["min"] <= speed["median"] <= speed["max"]
        assert one["memory"]["peak_bytes"] > one["file"]["num_bytes"]


@pytest.mark.skipif(protections().best is None, reason="there is no sandbox here")
def test_every_precision_solves_the_same_tasks(
    measured: tuple[Hearth, Mapping[str, Any]],
) -> None:
    hearth, result = measured

    assert result["tasks"]["num_tasks"] == 20
    assert result["tasks"]["protection"] == protections().best
    reference = result["precisions"][0]["pass_at_1"]
    assert 0 < reference["low"] < reference["value"] < reference["high"] < 1  # it knows some
    assert result["precisions"][1]["pass_at_1"]["high"] > 0
    assert len(list((hearth.data / "lab" / "evaluations" / "answers").glob("*.jsonl"))) == 2


def test_a_precision_of_another_engine_is_told_and_does_not_stop_the_others(
    measured: tuple[Hearth, Mapping[str, Any]],
) -> None:
    missing = measured[1]["not_measured"]

    assert [one["precision"] for one in missing] == ["gptq4"]
    assert "not made" in missing[0]["reason"]
    assert "hearth quantize starter --to gptq4" in missing[0]["hint"]


def test_the_result_lies_with_its_report_and_plots(
    measured: tuple[Hearth, Mapping[str, Any]],
) -> None:
    hearth, result = measured
    lab = hearth.data / "lab"

    assert json.loads((lab / f"{result['id']}.json").read_text()) == result
    assert (lab / result["files"]["report"]).read_text().startswith("# What the precisions of")
    assert all((lab / plot["svg"]).is_file() for plot in result["files"]["plots"])
    assert not list(lab.glob("measuring-*"))


def test_the_documented_shape_is_the_written_one(
    measured: tuple[Hearth, Mapping[str, Any]],
) -> None:
    """docs/lab.md holds an example that other programs are written after."""
    text = (Path(__file__).parents[2] / "docs" / "lab.md").read_text()
    documented = json.loads(text.split("```json\n", 1)[1].split("```", 1)[0])

    result = measured[1]
    assert set(documented) == set(result)
    for key in ("machine", "noise", "model", "text", "timing", "versions", "files"):
        assert set(documented[key]) == set(result[key]), key
    ours, theirs = result["precisions"][1], documented["precisions"][0]
    assert set(ours) == set(theirs)
    for key in ("file", "load_s", "memory", "loss"):
        assert set(ours[key]) == set(theirs[key]), key
    assert set(ours["loss"]["kl"]) == set(theirs["loss"]["kl"])
    assert set(ours["loss"]["greedy"]) == set(theirs["loss"]["greedy"])
    assert set(ours["streams"][0]) == set(theirs["streams"][0])


def test_a_measured_precision_is_advised_with_its_reason(
    measured: tuple[Hearth, Mapping[str, Any]],
) -> None:
    hearth, result = measured

    advice = hearth("advise", "starter", "--json").document

    assert advice["result"] == result["id"]
    assert all(one["is_measured"] for one in advice["advice"])


# --- exact logits -------------------------------------------------------------------------------


def scores(
    path: Path,
    folder: Path,
    *,
    reference: Path | None = None,
    library: scoring.Library = scoring.WHEEL,
) -> scoring.Scores:
    """`path` through the children, against `reference` or itself."""
    tokens, vocabulary = tokenize(path, TEXT)
    windows = scoring.cut(
        tokens, vocabulary_size=vocabulary, context_tokens=64, max_windows=4, num_prompts=2
    )
    with kept(windows, "", folder, room) as keeping:
        first = reference or path
        logits = keeping.logits
        reading = partial(score, num_threads=1, done=lambda _: None, library=library)
        reading(first, windows, logits, is_reference=True)
        return reading(path, windows, logits, is_reference=False)


def test_a_model_does_not_differ_from_itself(tmp_path: Path) -> None:
    found = scores(STARTER, tmp_path)

    assert max(found.kl) == 0
    assert set(found.top_1) == set(found.top_5) == {1.0}


def test_eight_bits_differ_less_than_four(tmp_path: Path) -> None:
    exact = make_gguf(tmp_path / "exact.gguf", precision="F32")
    eight = quantised(gguf_source(exact), "q8_0", tmp_path / "a")
    four = quantised(gguf_source(exact), "q4_0", tmp_path / "b")

    one, other = (scores(path, tmp_path, reference=exact).kl for path in (eight, four))

    assert 0 < np.mean(one) < np.mean(other) / 20


def test_greedy_completions_are_those_of_the_engine_that_serves(
    hearth: Hearth, tmp_path: Path
) -> None:
    prompt = "def is_even(number):\n    "
    tokens, vocabulary = tokenize(STARTER, prompt)
    windows = scoring.Windows((tuple(tokens * 8)[:32],), (tuple(tokens),), vocabulary)
    with kept(windows, "", tmp_path, room) as keeping:
        found = score(
            STARTER, windows, keeping.logits, is_reference=True, num_threads=1, done=lambda _: None
        )

    with served(hearth, "-m", "starter"):
        answer = hearth("complete", "--max-tokens", "32", "--temperature", "0", stdin=prompt)

    assert answer.code == 0, answer.err
    pieces = gguf.GGUFReader(STARTER).fields["tokenizer.ggml.tokens"].contents()
    bytes_of = {letter: byte for byte, letter in enumerate(byte_letters())}
    text = bytes(bytes_of[one] for token in found.greedy[0] for one in pieces[token])
    assert text.decode("utf-8", "ignore").strip() == answer.out.strip("\ufffd\n ")


# --- what goes wrong ----------------------------------------------------------------------------


def test_a_text_too_short_says_how_much_is_needed(hearth: Hearth) -> None:
    (hearth.home / "short.py").write_text("print(1)\n")

    refused = hearth("measure", "starter", "--precisions", "q2_k", "--text", "short.py")

    assert refused.code == 2
    assert "at least 2048 are needed" in refused.err
    assert not list((hearth.data / "made").glob("*.gguf"))  # five precisions were made before
    assert hearth("measure", "starter", "--text", "nothere.py").code == 4


def test_logits_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    path = make_gguf(tmp_path / "nan.gguf", precision="F32")
    raw = bytearray(path.read_bytes())
    raw[-400:] = np.full(100, np.nan, np.float32).tobytes()  # the last norm
    path.write_bytes(raw)

    with pytest.raises(BadWeights, match=r"NaN or infinity in window 1 .*'output_norm\.weight'"):
        scores(path, tmp_path)


def test_a_full_disk_is_seen_before_any_work(tmp_path: Path) -> None:
    windows = scoring.Windows(((0,) * 512,) * 40, (), 152_000)

    with (
        pytest.raises(DiskFull, match=r"5\.8 GiB while measuring; 100 MiB are free"),
        kept(windows, "", tmp_path, lambda _: 100 << 20),
    ):
        raise AssertionError


def test_what_was_read_before_a_stop_is_not_read_again(tmp_path: Path) -> None:
    windows = scoring.Windows(((0,) * 64,) * 4, (), 1000)
    read = scoring.Scores(nll=(1.5, 0.1), greedy=((1, 2), ()), kl=(1e-7, 0.25))

    with pytest.raises(KeyboardInterrupt), kept(windows, "hash", tmp_path, room) as first:
        first.logits.write_bytes(b"logits")
        first.keep("q8_0", read)
        with pytest.raises(Overloaded), kept(windows, "hash", tmp_path, room):
            raise AssertionError
        raise KeyboardInterrupt
    with kept(windows, "hash", tmp_path, room) as again:
        assert again.logits.read_bytes() == b"logits"
        assert (again.scores("q8_0"), again.scores("q4_0")) == (read, None)

    assert not list(tmp_path.iterdir())


def test_what_a_stopped_measurement_left_goes_with_the_next_other_one(tmp_path: Path) -> None:
    """A killed one left gigabytes that nothing deleted."""
    windows = scoring.Windows(((0,) * 64,) * 4, (), 1000)
    with pytest.raises(KeyboardInterrupt), kept(windows, "one", tmp_path, room):
        raise KeyboardInterrupt
    assert len(list(tmp_path.iterdir())) == 1

    with kept(windows, "two", tmp_path, room) as other:
        assert [place.name for place in tmp_path.iterdir()] == [other.logits.parent.name]


def test_memory_of_the_reference_is_that_of_one_window() -> None:
    windows = scoring.Windows(((0,) * 512,) * 40, (), 1000)

    assert windows.logits_bytes == 40 * 255 * 1000 * 4


def test_a_wrong_precision_is_refused_before_anything_is_made(
    hearth: Hearth, tmp_path: Path
) -> None:
    """A checkpoint was first written as GGUF, for minutes."""
    folder = make_checkpoint(tmp_path / "tiny").folder

    refused = hearth("measure", str(folder), "--precisions", "q9_k")

    assert refused.code == 2
    assert "q9_k" in refused.err
    assert not list((hearth.data / "made").glob("*.gguf"))


def test_a_packed_checkpoint_is_no_reference(hearth: Hearth, tmp_path: Path) -> None:
    packed, _ = tiny_gptq(tmp_path)

    refused = hearth("measure", str(packed))

    assert refused.code == 2
    assert "INT4 (GPTQ)" in refused.err and "--engines transformers" in refused.err


def test_a_model_that_is_not_here_is_not_measured(hearth: Hearth) -> None:
    assert hearth("measure", "qwen2.5-coder-7b").code == 4
    assert hearth("measure").code == 2
    assert hearth("measure", "starter", "--context", "9000").code == 2


def test_greedy_prompts_are_never_longer_than_half_a_window() -> None:
    found = scoring.cut(
        range(640), vocabulary_size=1000, context_tokens=64, max_windows=8, num_prompts=3
    )

    assert {len(prompt) for prompt in found.prompts} == {32}
    assert replace(found).num_scored_tokens == 8 * 31


def test_what_transformers_makes_as_it_loads_is_read_the_same_way(tmp_path: Path) -> None:
    """Rows of bitsandbytes stand beside llama.cpp's: same windows, same tokens, same reference."""
    engine = transformers_at(installed("transformers").python.parents[3])
    if not engine.can_quantise:
        pytest.skip("bitsandbytes is not in the environment of transformers")
    model = store_at(tmp_path / "data").find("starter:bf16")
    place = Place(Made(tmp_path / "made"), tmp_path, room, engine)
    listener = Listener(say=lambda _: None, step=lambda *_: None)
    found, missing = candidates_of(model, ("int8", "int4"), place, snapshot(), listener)
    tokens, vocabulary = tokenize(found[0].path, TEXT)
    windows = scoring.cut(
        tokens, vocabulary_size=vocabulary, context_tokens=64, max_windows=4, num_prompts=2
    )

    with kept(windows, "", tmp_path, room) as keeping:
        scored = {
            one.precision: score(
                one.path, windows, keeping.logits, is_reference=one.is_reference, num_threads=1,
                done=lambda _: None, loaded=one.loading,
            )
            for one in found
        }  # fmt: skip

    assert list(scored) == ["bf16", "int8", "int4"] and not missing
    assert 0 < np.mean(scored["int8"].kl) < np.mean(scored["int4"].kl) < 0.5
    assert np.mean(scored["int8"].top_1) > 0.8
    assert [len(one) for one in scored["int4"].greedy] > [0, 0]


def test_what_is_made_at_load_is_timed_and_solves_tasks_in_that_precision(
    tmp_path: Path,
) -> None:
    """It was timed as int8, and its tasks were solved by whatever loads the checkpoint as it is."""
    folder = starter_checkpoint(tmp_path)
    python = Path("/data/engines/transformers/0a/bin/python")
    state = Installed("transformers", "cpu", python, "5.23.0", "digest", {})
    weights = read_weights(folder)
    one = Candidate("int8", folder, weights, 1, "", loaded_by=Transformers(state))

    assert one.loaded_by is not None
    launch = one.launch(one.loaded_by, snapshot(), context_tokens=1024, num_slots=4, num_threads=1)

    assert (launch.precision, launch.stored_precision) == ("int8", "BF16")
    endpoint = Endpoint(Path("/run/engine.sock"), "http://engine", "key")
    argv = one.loaded_by.command(launch, endpoint).argv
    assert argv[argv.index("--quantise") + 1] == "int8"
    assert one.loading == scoring.Loading("int8", python)


def test_figures_come_from_the_gpu_that_serves() -> None:
    """Every precision was timed on the processors, whatever the machine had."""
    gpu = Gpu(0, "NVIDIA H100", "cuda", 80 << 30, 79 << 30)
    machine = replace(snapshot(), gpus=(gpu,))
    weights = read_weights(STARTER)
    one = Candidate("q8_0", STARTER, weights, 1, "")
    server = LlamaServer(Path("/bin/llama-server"), "0", frozenset())

    def layers(hardware: Hardware, *, sees_gpus: bool = True) -> int:
        engine = replace(server, sees_gpus=sees_gpus)
        size = {"context_tokens": 1024, "num_slots": 4, "num_threads": 1}
        return one.launch(engine, hardware, **size).gpu_layers

    assert layers(machine) == weights.num_layers + 1
    assert layers(machine, sees_gpus=False) == 0
    assert layers(replace(machine, gpus=())) == 0
