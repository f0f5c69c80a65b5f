"""What the page asks, of a real server with real models: kept through a kill, fetched, deleted."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from codehearth.records.database import FILE_NAME
from codehearth.wire.sse import EventReader
from tests.models.loopback_hub import LoopbackHub
from tests.system.conftest import Hearth, Server
from tests.system.test_life import eventually
from tests.tiny_models import Shape, make_gguf

REPO = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"
NAME = "qwen2.5-coder-0.5b:q8_0"
FILE = "qwen2.5-coder-0.5b-instruct-q8_0.gguf"
HELD_AT = 300_000
ENDLESS = {"max_tokens": 3500, "temperature": 0}
"""For a model of random weights, which then says one thing over and over."""


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that writes for long enough to be killed, a few hundred tokens a second."""
    shape = Shape("llama", 12, 512, 8, 8, 64, 2048, tied=False)
    path = tmp_path_factory.mktemp("slow") / "slow.gguf"
    return make_gguf(path, shape, precision="Q8_0", name="slow")


@contextmanager
def online(hearth: Hearth, hub: LoopbackHub) -> Iterator[Server]:
    addresses = {"HF_ENDPOINT": hub.endpoint, "MODELSCOPE_ENDPOINT": hub.endpoint}
    with hearth.serving(HF_HUB_OFFLINE="", **addresses) as server:
        yield server


def begin(server: Server, **fields: Any) -> str:
    return str(server.post("/hearth/conversations", fields).json()["id"])


@contextmanager
def answering(server: Server, talk: str, **body: Any) -> Iterator[Iterator[tuple[str, Any]]]:
    path = f"{server.url}/hearth/conversations/{talk}/answers"
    with httpx2.stream("POST", path, json=body, timeout=60) as response:
        assert response.status_code == 200, response.read()
        yield _events(response)


def _events(response: httpx2.Response) -> Iterator[tuple[str, Any]]:
    reader = EventReader()
    for piece in response.iter_bytes():
        for event in reader.feed(piece):
            yield event.name, json.loads(event.data)


def answered(server: Server, talk: str, **body: Any) -> dict[str, Any]:
    with answering(server, talk, **body) as events:
        return dict(next(data["answer"] for name, data in events if name == "end"))


def messages(server: Server, talk: str) -> list[dict[str, Any]]:
    return list(server.get(f"/hearth/conversations/{talk}").json()["messages"])


def content_in_file(hearth: Hearth) -> str:
    """What a killed server would leave of the only answer."""
    with closing(sqlite3.connect(hearth.data / FILE_NAME)) as file:
        row = file.execute("SELECT content FROM messages WHERE role = 'assistant'").fetchone()
    return str(row[0]) if row else ""


def test_the_starter_answers_and_goes_on_where_it_was_cut(server: Server) -> None:
    talk = begin(server, parameters={"temperature": 0, "seed": 1})
    question = "Write a function that reverses a string in Python."
    whole = answered(server, talk, action="send", content=question)

    cut = answered(server, talk, action="regenerate", parameters={"max_tokens": 12})
    longer = answered(server, talk, action="continue")

    assert "[::-1]" in whole["content"] and whole["figures"]["finish_reason"] == "stop"
    assert whole["content"].startswith(cut["content"]) and cut["content"] != whole["content"]
    assert cut["figures"]["finish_reason"] == "length"
    assert longer["id"] == cut["id"] and longer["content"] == whole["content"]
    assert longer["figures"]["completion_tokens"] == pytest.approx(
        whole["figures"]["completion_tokens"], abs=1
    )
    assert longer["figures"]["context_used"] == pytest.approx(
        whole["figures"]["context_used"], abs=2
    )


def test_a_long_talk_leaves_old_turns_out_and_says_how_many(server: Server) -> None:
    talk = begin(server, parameters={"max_tokens": 16})
    code = "\n".join(f"def function_{n}(value):\n    return value * {n}" for n in range(90))

    left_out = []
    for number in range(5):
        answer = answered(server, talk, action="send", content=f"{number}: read this\n{code}")
        assert answer["state"] == "done", answer["error"]
        left_out.append(answer["figures"]["left_out_turns"])
        assert answer["figures"]["context_used"] <= answer["figures"]["context_max"]

    assert left_out == sorted(left_out) and left_out[0] == 0 and left_out[-1] > 0


def test_a_server_that_is_killed_in_mid_answer_loses_nothing(
    hearth: Hearth, slow_model: Path
) -> None:
    with hearth.serving("-m", str(slow_model)) as server:
        talk = begin(server)
        long = {"action": "send", "content": "hello", "parameters": ENDLESS}
        seen, in_file = "", ""
        with suppress(httpx2.HTTPError), answering(server, talk, **long) as events:
            for name, data in events:
                seen += data.get("content", "") if name == "delta" else ""
                if not in_file and (in_file := content_in_file(hearth)):
                    server.child.kill()

    with hearth.serving("-m", str(slow_model)) as server:
        question, answer = messages(server, talk)
        assert (question["content"], question["state"]) == ("hello", "done")
        assert answer["state"] == "interrupted"
        # Saved twice a second: what came in the last half of one may be missing, no more.
        assert in_file and answer["content"].startswith(in_file)
        assert seen.startswith(answer["content"])
        again = answered(server, talk, action="continue", parameters={"max_tokens": 5})
        assert again["state"] == "done"


def test_an_engine_that_is_killed_in_mid_answer_leaves_what_came(
    hearth: Hearth, slow_model: Path
) -> None:
    with hearth.serving("-m", str(slow_model)) as server:
        talk = begin(server)
        long = {"action": "send", "content": "hello", "parameters": ENDLESS}
        seen, end = "", {}
        with answering(server, talk, **long) as events:
            for name, data in events:
                if name == "delta":
                    seen += data["content"]
                    if len(seen) > 200:
                        for engine in server.engines():
                            engine.kill()
                elif name == "end":
                    end = data["answer"]

        assert end["state"] == "interrupted" and end["content"] == seen
        assert end["error"]["code"] == "engine_failed"
        assert messages(server, talk)[1]["content"] == seen
        again = answered(server, talk, action="continue", parameters={"max_tokens": 5})
        assert again["state"] == "done" and again["content"].startswith(seen)


def test_models_are_told_with_state_memory_and_whether_they_fit(server: Server) -> None:
    server.post("/hearth/load", {"model": "starter"})

    told = server.get("/hearth/models").json()

    by_name = {one["name"]: one for one in told["models"]}
    starter = by_name["starter"]
    assert (starter["state"], starter["fits"], starter["can_delete"]) == ("loaded", "cpu", False)
    assert starter["measured_bytes"] > starter["predicted"]["parts"]["weights"]
    assert sum(starter["predicted"]["parts"].values()) == starter["predicted"]["total_bytes"]
    largest = next(one for name, one in by_name.items() if name.startswith("qwen3-coder-480b"))
    assert (largest["fits"], largest["state"]) == ("no", "not_here")
    assert largest["needed_bytes"] > largest["free_bytes"]
    assert told["machine"]["free_bytes"] > 0 and told["default_model"] == "starter"
    found = server.get("/hearth/models/qwen2.5-coder-0.5b").json()
    assert len({one["name"] for one in found["variants"]}) > 3
    server.post("/hearth/unload", {"model": "starter"})
    assert server.get("/hearth/models/starter").json()["model"]["state"] == "on_disk"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("name", ["%00", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "a" * 300])
def test_a_name_that_is_none_is_refused(server: Server, method: str, name: str) -> None:
    answer = httpx2.request(method, f"{server.url}/hearth/models/{name}")

    assert answer.status_code in (400, 404)
    assert "/etc" not in answer.json()["error"]["message"] or "%2f" in name


def test_the_starter_cannot_be_deleted(server: Server) -> None:
    answer = httpx2.delete(f"{server.url}/hearth/models/starter")

    assert answer.status_code == 400
    assert "not downloaded" in answer.json()["error"]["message"]


def state(server: Server, pull: str) -> str:
    return str(server.get(f"/hearth/pulls/{pull}").json()["state"])


def test_a_model_is_fetched_paused_resumed_used_and_deleted(
    hearth: Hearth, hub: LoopbackHub, tiny_model: Path
) -> None:
    hub.add(REPO, {FILE: tiny_model.read_bytes(), "README.md": b"hello"})
    held, goes_on = threading.Event(), threading.Event()
    hub.faults.at_offset = {HELD_AT: lambda: (held.set(), goes_on.wait(60))}  # type: ignore[dict-item]
    with online(hearth, hub) as server:
        answer = server.post("/hearth/pulls", {"model": NAME})
        pull = answer.json()["id"]
        assert answer.status_code == 201
        assert server.post("/hearth/pulls", {"model": NAME}).json()["id"] == pull
        assert held.wait(60)
        entry = next(
            one for one in server.get("/hearth/models").json()["models"] if one["name"] == NAME
        )
        assert (entry["state"], entry["pull_id"]) == ("downloading", pull)

        server.post(f"/hearth/pulls/{pull}/pause", {})
        hub.faults.at_offset = {}
        goes_on.set()
        assert eventually(lambda: state(server, pull) in ("paused", "done"))
        paused = server.get(f"/hearth/pulls/{pull}").json()
        assert paused["state"] == "paused" and paused["total_bytes"] > HELD_AT
        asked = len(hub.bodies(FILE))

        server.post(f"/hearth/pulls/{pull}/resume", {})
        assert eventually(lambda: state(server, pull) == "done")

        done = server.get(f"/hearth/pulls/{pull}").json()
        assert (done["name"], done["done_bytes"]) == (NAME, done["total_bytes"])
        assert all("range" in one.headers for one in hub.bodies(FILE)[asked:])
        entry = next(
            one for one in server.get("/hearth/models").json()["models"] if one["name"] == NAME
        )
        assert (entry["state"], entry["can_delete"]) == ("on_disk", True)
        assert answered(
            server, begin(server, model=NAME), action="send", content="x",
            parameters={"max_tokens": 2},
        )["state"] == "done"  # fmt: skip
        deleted = httpx2.delete(f"{server.url}/hearth/models/{NAME}").json()
        assert deleted == {"model": NAME, "freed_bytes": entry["frees_bytes"]}
        assert server.get(f"/hearth/models/{NAME}").json()["model"]["state"] == "not_here"
        assert httpx2.delete(f"{server.url}/hearth/pulls/{pull}").json() == {"deleted": 1}


def test_a_half_done_pull_is_there_after_the_server_was_killed(
    hearth: Hearth, hub: LoopbackHub, tiny_model: Path
) -> None:
    hub.add(REPO, {FILE: tiny_model.read_bytes()})
    held, goes_on = threading.Event(), threading.Event()
    hub.faults.at_offset = {HELD_AT: lambda: (held.set(), goes_on.wait(60))}  # type: ignore[dict-item]
    with online(hearth, hub) as server:
        pull = server.post("/hearth/pulls", {"model": NAME}).json()["id"]
        assert held.wait(60)
        server.child.kill()
    hub.faults.at_offset = {}
    goes_on.set()

    with online(hearth, hub) as server:
        (listed,) = server.get("/hearth/pulls").json()["pulls"]
        assert (listed["id"], listed["state"]) == (pull, "paused")
        server.post(f"/hearth/pulls/{pull}/resume", {})

        assert eventually(lambda: state(server, pull) == "done")


def test_a_pull_that_is_cancelled_leaves_no_half_files(
    hearth: Hearth, hub: LoopbackHub, tiny_model: Path
) -> None:
    hub.add(REPO, {FILE: tiny_model.read_bytes()})
    held, goes_on = threading.Event(), threading.Event()
    hub.faults.at_offset = {HELD_AT: lambda: (held.set(), goes_on.wait(60))}  # type: ignore[dict-item]
    with online(hearth, hub) as server:
        pull = server.post("/hearth/pulls", {"model": NAME}).json()["id"]
        assert held.wait(60)
        assert eventually(lambda: any(hearth.home.rglob("*.incomplete")))
        (half,) = hearth.home.rglob("*.incomplete")
        others = half.with_name("somebody-elses.incomplete")
        others.touch()

        server.post(f"/hearth/pulls/{pull}/cancel", {})
        hub.faults.at_offset = {}
        goes_on.set()

        assert eventually(lambda: state(server, pull) == "cancelled")
        assert eventually(lambda: not half.exists()) and others.exists()
        again = server.post("/hearth/pulls", {"model": NAME}).json()
        assert eventually(lambda: state(server, again["id"]) == "done")


def test_a_pull_that_fails_says_why(hearth: Hearth, hub: LoopbackHub) -> None:
    hub.faults.is_down = True
    with online(hearth, hub) as server:
        pull = server.post("/hearth/pulls", {"model": NAME}).json()["id"]
        assert eventually(lambda: state(server, pull) == "failed", within_s=90)
        error = server.get(f"/hearth/pulls/{pull}").json()["error"]

        assert error["code"] == "hub_failed" and str(hearth.home) not in error["message"]
        assert server.post(f"/hearth/pulls/{pull}/cancel", {}).json()["state"] == "cancelled"
        assert server.post("/hearth/pulls", {"model": "no-such-model"}).status_code == 404
        assert server.post("/hearth/pulls", {"model": "/etc/passwd"}).status_code == 400
        assert server.post("/hearth/pulls/p_0/pause", {}).status_code == 404


def test_votes_preferences_and_measurements_are_kept(hearth: Hearth) -> None:
    vote = {
        "prompt": "sort",
        "first": {"model": "a:q8_0", "tokens_per_s": 70.5},
        "second": {"model": "a:q4_k_m"},
        "winner": "first",
    }
    likes = {
        "language": "zh-CN",
        "theme": "dark",
        "prompts": [{"name": "审查", "text": "Review this: "}],
    }
    lab = hearth.data / "lab"
    with hearth.serving() as server:
        cast = server.post("/hearth/votes", vote)
        assert cast.status_code == 201
        kept = httpx2.put(f"{server.url}/hearth/preferences", json=likes).json()
        assert server.get("/hearth/lab").json() == {"results": []}

    lab.mkdir()
    (lab / "measure.json").write_text('{"kind": "measure"}')
    (lab / "broken.json").write_text("{")
    (lab / "link.json").symlink_to(hearth.data / "records.sqlite")
    with hearth.serving() as server:
        (voted,) = server.get("/hearth/votes").json()["votes"]
        assert voted == cast.json() and voted["winner"] == "first"
        assert server.get("/hearth/votes/export").json()["votes"] == [voted]
        assert server.get("/hearth/preferences").json() == kept
        assert kept["prompts"] == likes["prompts"] and kept["parameters"] == {}
        results = server.get("/hearth/lab").json()["results"]
        assert {one["name"] for one in results} == {"measure.json", "broken.json"}
        assert server.get("/hearth/lab/measure.json").json() == {"kind": "measure"}
        assert server.get("/hearth/lab/broken.json").status_code == 400
        for name in ("link.json", "..%2frecords.sqlite", "nothing.json"):
            assert server.get(f"/hearth/lab/{name}").status_code == 404
