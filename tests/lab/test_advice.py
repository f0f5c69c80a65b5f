"""What is advised, from figures made up to make each rule decide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from codehearth.cli.advised import names_no_precision
from codehearth.lab.advice import Advice, Option, advise, measured_option
from codehearth.lab.report import keep
from codehearth.lab.result import Sample
from codehearth.models.hardware import snapshot
from codehearth.models.weights import read_weights
from tests.cli.command_line import STARTER, Hearth, served
from tests.lab.results import PRECISIONS, result
from tests.tiny_models import make_huge_gguf

OPTIONS = [
    option
    for option in (measured_option(one, 8192, is_noisy=False) for one in PRECISIONS)
    if option is not None
]


def advised(options: list[Option]) -> dict[str, Advice]:
    found = advise(options, num_threads=2, reference="f16", is_measured=True)
    return {one.purpose: one for one in found}


def slowed(options: list[Option], factor: float) -> list[Option]:
    return [replace(one, decode_tokens_per_s=one.decode_tokens_per_s / factor) for one in options]


def test_chat_gets_the_fastest_of_those_that_hardly_differ() -> None:
    advice = advised(OPTIONS)["chat"]

    assert advice.precision == "q5_k_m"
    assert "hardly differ from f16" in advice.reason
    assert "50 tokens/s" in advice.reason


def test_where_only_the_small_ones_keep_pace_the_closest_of_them_is_taken() -> None:
    advice = advised(slowed(OPTIONS, 4.5))["chat"]

    assert advice.precision == "q4_k_m"
    assert "as fast as one reads" in advice.reason


def test_on_a_slow_machine_speed_decides_among_those_that_say_mostly_the_same() -> None:
    advice = advised(slowed(OPTIONS, 50))["chat"]

    assert advice.precision == "q4_k_m"
    assert "none writes as fast" in advice.reason


def test_typing_gets_the_quickest_completion_that_agrees() -> None:
    advice = advised(OPTIONS)["typing"]

    assert advice.precision == "q4_k_m"
    assert advice.context_tokens == 4096
    assert "95 %" in advice.reason


def test_what_does_not_fit_is_out() -> None:
    options = [replace(one, context_tokens=0 if one.num_bytes > 4e6 else 2048) for one in OPTIONS]

    assert advised(options)["chat"].precision == "q2_k"
    assert advised([replace(one, context_tokens=0) for one in OPTIONS]) == {}


def test_on_a_busy_machine_the_best_speed_counts() -> None:
    """A median said that q8_0 writes half as fast as it does."""
    speed = Sample(40, 9, 100, (9, 40, 100))
    first = PRECISIONS[0].streams[0]
    one = replace(PRECISIONS[0], streams=(replace(first, decode_tokens_per_s=speed),))

    found = [measured_option(one, 8192, is_noisy=noisy) for noisy in (False, True)]

    assert [option.decode_tokens_per_s for option in found if option] == [40, 100]


def keep_measured_starter(hearth: Hearth, **changes: Any) -> None:
    """A result of the packaged model on this machine."""
    machine = snapshot()
    weights = read_weights(STARTER)
    same = {"name": "starter", "num_parameters": weights.num_parameters}
    model = replace(result().model, **same | changes)
    facts = {"cpu_name": machine.cpu_name, "num_cores": machine.num_cores}
    keep(result(machine=facts, model=model), hearth.data / "lab")


def test_what_was_measured_of_another_release_of_the_model_is_passed_over(hearth: Hearth) -> None:
    """The packaged model gets larger with an update, and its name stays."""
    keep_measured_starter(hearth, num_parameters=7_000)

    told = hearth("advise", "starter", "--json")

    assert told.document["result"] is None
    assert not told.document["advice"][0]["is_measured"]


def test_the_command_uses_what_was_measured_on_this_machine(hearth: Hearth) -> None:
    keep_measured_starter(hearth)

    told = hearth("advise", "starter", "--json")

    assert told.code == 0, told.err
    assert told.document["result"] == "20260101-000000-model"
    chat, typing = told.document["advice"]
    assert (chat["precision"], typing["precision"]) == ("q5_k_m", "q4_k_m")
    assert chat["is_measured"]


def test_the_server_takes_what_was_measured_where_no_precision_is_named(hearth: Hearth) -> None:
    keep_measured_starter(hearth)
    assert hearth("quantize", "starter", "--to", "q5_k_m").code == 0

    with served(hearth):
        pass
    said = (hearth.home / "serve.err").read_text()

    assert "Precision q5_k_m: it is the fastest" in said
    assert "serves 'starter:q5_k_m'" in said


def test_a_named_precision_is_not_changed() -> None:
    assert names_no_precision("starter") and names_no_precision("hf:org/repo")
    assert not names_no_precision("starter:q8_0")
    assert not names_no_precision("./starter.gguf")


def test_without_a_measurement_it_says_that_it_predicts(hearth: Hearth) -> None:
    keep(result(model=replace(result().model, name="starter")), hearth.data / "lab")  # elsewhere

    told = hearth("advise", "starter")

    assert told.code == 0, told.err
    assert told.out.startswith("chat: ")
    assert "predicted" in told.err


def test_where_nothing_fits_the_numbers_are_told(hearth: Hearth, tmp_path: Path) -> None:
    huge = make_huge_gguf(tmp_path / "huge.gguf")

    told = hearth("advise", str(huge))

    assert told.code == 3
    assert "No precision of 'huge' fits" in told.err


def test_nothing_is_said_of_a_model_of_another_server(hearth: Hearth) -> None:
    """Its path was the folder in which one stood: any GGUF there was looked at."""
    hearth.variables["HEARTH_REMOTES"] = "coder=http://127.0.0.1:9/v1"
    for verb in (("advise", "coder"), ("measure", "coder"), ("quantize", "coder", "--to", "q8_0")):
        told = hearth(*verb)
        assert told.code != 0, verb
        assert "served by another server" in told.err


def test_a_model_that_is_not_here_is_not_advised_on(hearth: Hearth) -> None:
    assert hearth("advise", "qwen2.5-coder-7b").code == 4


def test_results_that_cannot_be_read_are_passed_over(hearth: Hearth, tmp_path: Path) -> None:
    lab = hearth.data / "lab"
    lab.mkdir(parents=True)
    (lab / "20990101-000000-starter.json").write_text('{"schema": 99}')
    (lab / "20990101-000001-starter.json").write_text("{")

    assert hearth("advise", "starter").code == 0
