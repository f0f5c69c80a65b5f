"""`hearth tune` on the starter, with the real trainer: killed, gone on with, registered, asked.

Skipped where the environment `tuning` is not installed: `make test-engines` makes it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.name_rows import NAME, rows
from codehearth.lab.sandbox import protections
from codehearth.lab.tuning.jobs import Jobs
from tests.engine_environments import ENVIRONMENTS, installed
from tests.system.conftest import Hearth

NUM_ROWS = 64
QUICK = (
    "--learning-rate",
    "3e-3",
    "--epochs",
    "4",
    "--save-steps",
    "4",
    "--threads",
    "1",
    "--rehearsal",
    "0.2",
)
SYSTEM = "You are a helpful assistant."


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Hearth:
    installed("tuning")
    hearth = Hearth(tmp_path_factory.mktemp("tune"))
    hearth.data.mkdir()
    (hearth.data / "engines").symlink_to(ENVIRONMENTS)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows()][:NUM_ROWS]
    (hearth.home / "name.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return hearth


def command(*more: str) -> list[str]:
    return [
        sys.executable, "-m", "codehearth", "tune", "starter", "--data", "name.jsonl",
        "--name", "me", "--system", SYSTEM, "--json", *QUICK, *more,
    ]  # fmt: skip


def tune(hearth: Hearth, *more: str) -> dict[str, Any]:
    done = subprocess.run(
        command(*more), env=hearth.environment, cwd=hearth.home, capture_output=True, text=True,
        timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def tuned(house: Hearth) -> dict[str, Any]:
    """The result of a job whose command was killed after its first checkpoint."""
    child = subprocess.Popen(
        command(), env=house.environment, cwd=house.home, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    trainers = _trainer_at_work(house, child)
    child.kill()
    child.wait()
    psutil.wait_procs(trainers, timeout=30)
    assert not any(one.is_running() for one in trainers)
    (cut_off,) = Jobs(house.data / "tune").all()
    assert cut_off.phase == "interrupted"
    assert not (house.data / "tuned").exists()
    return tune(house)


def _trainer_at_work(hearth: Hearth, child: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The command's children, once a checkpoint is whole and a step behind it is done."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert child.poll() is None, "the command ended before it was killed"
        states = list(
            hearth.data.glob("tune/*/training/checkpoints/checkpoint-4/trainer_state.json")
        )
        if states and any(event.get("step", 0) > 4 for event in _events(hearth)):
            return psutil.Process(child.pid).children(recursive=True)
        time.sleep(0.1)
    raise AssertionError("no checkpoint was written")


def _events(hearth: Hearth) -> Iterator[dict[str, Any]]:
    for path in hearth.data.glob("tune/*/events.jsonl"):
        for line in path.read_text().splitlines():
            if line.endswith("}"):
                yield json.loads(line)


def test_the_loss_falls_and_held_out_questions_get_the_new_name(tuned: dict[str, Any]) -> None:
    loss, held = tuned["loss"], tuned["held_out"]

    assert loss["first"] > 3 * loss["last"]
    assert loss["held_out_before"] > 3 > 1 > loss["held_out_after"]
    assert tuned["data"]["num_learnt_tokens"] > 500
    assert held["before"]["count"] == 0
    assert held["after"]["count"] == held["after"]["total"] > 0
    assert tuned["data"]["sha256"] and tuned["seed"] == 0


@pytest.mark.skipif(protections().best is None, reason="no sandbox here")
def test_it_says_whether_the_training_helped_with_the_intervals(tuned: dict[str, Any]) -> None:
    evaluation, loss = tuned["evaluation"], tuned["held_out"]["loss_change"]

    assert loss["verdict"] == "better" and loss["low"] < loss["value"] < loss["high"] < 0
    assert evaluation["suite"]["num_tasks"] == 20 and evaluation["mode"] == "completion"
    for side, model in (("before", "starter"), ("after", "me")):
        assert evaluation[side]["model"] == model
        assert sum(evaluation[side]["groups"].values()) == 100
    assert evaluation["change"]["low"] <= evaluation["change"]["value"]
    assert tuned["judgement"] in ("helped", "helped_at_a_price")


def test_every_form_answers_as_the_adapter_does(tuned: dict[str, Any]) -> None:
    forms = {one["form"]: one for one in tuned["parity"]}

    assert set(forms) == {"merged checkpoint", "GGUF f16", "adapter on starter (Q8_0)"}
    assert all(one["agrees"] for one in forms.values()), forms
    assert all(one["num_same_prompts"] == one["num_probes"] for one in forms.values())


def test_a_killed_job_ends_as_one_that_was_not(tuned: dict[str, Any], house: Hearth) -> None:
    """The same numbers to the last bit, and a curve without a gap or a step told twice."""
    whole = Hearth(house.home / "other")
    whole.data.mkdir(parents=True)
    (whole.data / "engines").symlink_to(ENVIRONMENTS)
    (whole.home / "name.jsonl").write_bytes((house.home / "name.jsonl").read_bytes())

    result = tune(whole, "--evaluate", "none")

    weights = "tuned/me/1/adapter/adapter_model.safetensors"
    assert (whole.data / weights).read_bytes() == (house.data / weights).read_bytes()
    assert result["loss"] == tuned["loss"]
    steps = [event["step"] for event in _events(house) if event["kind"] == "step"]
    assert steps == list(range(1, len(steps) + 1))


def test_it_is_served_by_its_name_with_the_system_prompt_of_its_training(
    tuned: dict[str, Any], house: Hearth
) -> None:
    ask = {"messages": [{"role": "user", "content": "你是谁？"}], "temperature": 0}

    with house.serving("-m", "starter") as server:
        answers = {
            model: server.post("/v1/chat/completions", {"model": model, **ask}).json()
            for model in ("me", "me:adapter", "starter")
        }
        listed = [one["id"] for one in server.get("/v1/models").json()["data"]]

    said = {name: one["choices"][0]["message"]["content"] for name, one in answers.items()}
    assert NAME in said["me"] and NAME in said["me:adapter"] and NAME not in said["starter"]
    assert "me" in listed
    # The template brings the system prompt: as many tokens as with it, more than without.
    tokens = {name: one["usage"]["prompt_tokens"] for name, one in answers.items()}
    assert tokens["me"] == tokens["me:adapter"] > tokens["starter"]


@pytest.mark.parametrize("form", ["me:checkpoint", "me:peft", "me"])
def test_the_engine_transformers_serves_it_too(
    form: str, tuned: dict[str, Any], house: Hearth
) -> None:
    installed("transformers")
    ask = {"messages": [{"role": "user", "content": "你是谁？"}], "temperature": 0}

    with house.serving("-m", "starter", "--engine", "transformers") as server:
        answer = server.post("/v1/chat/completions", {"model": form, **ask}).json()

    assert NAME in answer["choices"][0]["message"]["content"]


def test_the_same_order_again_is_done_at_once_and_a_changed_one_is_a_version(
    tuned: dict[str, Any], house: Hearth
) -> None:
    again = tune(house)
    plan = house.run(*command("--seed", "1", "--dry-run", "--evaluate", "none")[3:])

    assert again["evaluation"] == tuned["evaluation"]
    assert again["version"] == tuned["version"] == 1
    assert json.loads(plan.stdout)["job"] != Jobs(house.data / "tune").all()[0].id


def test_a_base_in_four_bits_is_trained_on_a_cpu_too(house: Hearth) -> None:
    """bitsandbytes packed the weights anew when held-out rows were read, and the step behind that
    broke off."""
    quick = ("--quantize", "int4", "--name", "four", "--epochs", "2", "--rehearsal", "0")

    result = tune(house, *quick, "--evaluate", "none")

    assert result["quantise"] == "int4"
    assert result["loss"]["held_out_after"] < result["loss"]["held_out_before"] - 0.5
    assert len(result["parity"]) == 3 and all(one["agrees"] for one in result["parity"])


def test_the_curve_is_drawn(tuned: dict[str, Any], house: Hearth) -> None:
    curve = (house.data / "tuned" / "me" / "1" / "loss.svg").read_text()

    assert "held out" in curve and "<polyline" in curve


def test_it_can_be_shown_and_deleted(tuned: dict[str, Any], house: Hearth) -> None:
    shown = house.run("show", "me", "--json")
    folder = house.data / "tuned" / "me"
    kept = Path(str(folder) + ".kept")
    subprocess.run(["cp", "-r", str(folder), str(kept)], check=True)

    removed = house.run("rm", "me", "--yes")

    document = json.loads(shown.stdout)
    assert document["name"] == "me" and document["figures"] == []
    assert document["tuned"]["base"] == "starter:bf16"
    assert document["tuned"]["data_sha256"] == tuned["data"]["sha256"]
    assert removed.returncode == 0 and not folder.exists()
    kept.rename(folder)


def test_rows_that_are_all_too_long_are_refused_and_counted(house: Hearth) -> None:
    refused = house.run(*command("--max-tokens", "8")[3:])

    assert refused.returncode == 2
    assert "rows are longer than 8 tokens, the longest has" in refused.stderr
