"""Code that passes the caller's tests, and code that is only run: over HTTP, in a real sandbox."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codehearth.lab.sandbox import protections
from tests.gateway.served import FakeModel, Served, served

needs_sandbox = pytest.mark.skipif(
    protections().best is None, reason=f"no sandbox here: {protections().summary()}"
)
TESTS = "assert add(1, 2) == 3\nassert add(2, 2) == 4\n"
RIGHT = "Here:\n```python\ndef add(a, b):\n    return a + b\n```\n"
WRONG = "```python\ndef add(a, b):\n    return a - b\n```"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One model that is right, one that is right when it is told, one that never is, one mute."""
    models = {
        "right": FakeModel(("--say", RIGHT)),
        "learns": FakeModel(("--say", WRONG, "--say", RIGHT)),
        "wrong": FakeModel(("--say", WRONG)),
        "mute": FakeModel(("--say", "I cannot do that.")),
    }
    with served(tmp_path_factory.mktemp("house"), models) as running:
        yield running


def verified(server: Served, model: str, **more: Any) -> tuple[int, Any]:
    order = {"model": model, "prompt": "Write add.", "tests": TESTS, "n": 2, **more}
    return server.post("/v1/verified", order)


@needs_sandbox
def test_code_that_passes_comes_with_its_evidence(server: Served) -> None:
    status, found = verified(server, "right")

    assert (status, found["verified"], found["model"]) == (200, True, "right")
    assert found["code"] == "def add(a, b):\n    return a + b\n"
    (winner,) = (one for one in found["attempts"] if one["number"] == found["attempt"])
    assert (winner["passed"], winner["outcome"], winner["checks"]) == (True, "passed", 2)
    assert winner["tests_apart"] is True
    assert found["sandbox"] == protections().best
    assert found["usage"]["completion_tokens"] > 0


@needs_sandbox
def test_what_failed_is_repaired_with_the_error(server: Served) -> None:
    status, found = verified(server, "learns", n=1)

    assert (status, found["verified"]) == (200, True)
    first, second = found["attempts"]
    assert (first["outcome"], second["outcome"]) == ("wrong", "passed")
    assert second["repairs"] == first["number"]
    told = server.models["learns"].control("/fake/last")["body"]["messages"]
    assert [one["role"] for one in told] == ["user", "assistant", "user"]
    assert TESTS.strip() in told[0]["content"]
    assert "left side: -1" in told[-1]["content"]


@needs_sandbox
@pytest.mark.parametrize(("model", "outcome"), [("wrong", "wrong"), ("mute", "empty")])
def test_where_nothing_passes_the_answer_says_so(server: Served, model: str, outcome: str) -> None:
    status, found = verified(server, model, n=1, repairs=2)

    assert (status, found["verified"]) == (200, False)
    assert [one["outcome"] for one in found["attempts"]] == [outcome] * 3
    assert not any(one["passed"] for one in found["attempts"])


@needs_sandbox
def test_doctests_are_tests(server: Served) -> None:
    status, found = verified(server, "right", tests=">>> add(1, 2)\n3\n>>> add('a', 'b')\n'ab'\n")

    assert (status, found["verified"]) == (200, True)
    assert found["attempts"][0]["checks"] == 2


@needs_sandbox
def test_tests_that_cannot_run_are_the_callers_mistake(server: Served) -> None:
    status, found = verified(server, "right", tests="import pytest\nassert add(1, 2) == 3\n")

    assert status == 400
    assert found["error"]["param"] == "tests"
    assert "pytest" in found["error"]["message"]


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"prompt": "x"}, "tests"),
        ({"tests": TESTS}, "prompt"),
        ({"prompt": "x", "messages": [{"role": "user", "content": "x"}], "tests": TESTS}, "prompt"),
        ({"messages": [{"role": "assistant", "content": "x"}], "tests": TESTS}, "user"),
        ({"prompt": "x", "tests": "add(1, 2)"}, "check nothing"),
        ({"prompt": "x", "tests": "assert ("}, "not Python"),
        ({"prompt": "x", "tests": TESTS, "n": 9}, "n"),
        ({"prompt": "x", "tests": TESTS, "repairs": 3}, "repairs"),
        ({"prompt": "x", "tests": TESTS, "time_limit_s": 31}, "time_limit_s"),
        ({"prompt": "x", "tests": "#" * 70_000}, "tests"),
        ({"prompt": "x", "tests": TESTS, "max_tokens": 100_000}, "max_tokens"),
        ({"prompt": "x", "tests": TESTS, "model": "nobody"}, "nobody"),
    ],
)
def test_what_is_out_of_bounds_is_refused(server: Served, order: Any, says: str) -> None:
    status, found = server.post("/v1/verified", order)

    assert status in (400, 404), found
    assert says in json.dumps(found["error"])


@needs_sandbox
def test_a_block_is_run_as_it_is(server: Served) -> None:
    assert server.post("/hearth/run", {"code": "print(input())", "stdin": "你好\n"}) == (
        200,
        pytest.approx(
            {
                "ending": "exit",
                "exit_code": 0,
                "stdout": "你好\n",
                "stderr": "",
                "was_cut": False,
                "duration_s": pytest.approx(0, abs=30),
                "sandbox": protections().best,
            }
        ),
    )


@needs_sandbox
@pytest.mark.parametrize(
    ("code", "field", "says"),
    [
        ("1 / 0", "stderr", "ZeroDivisionError"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 1), 1)", "stderr", "Error"),
        ("open('/etc/shadow')", "stderr", "Error"),
        ("import os\nprint(sorted(os.environ))", "stdout", "PATH"),
        ("while True: pass", "ending", "time"),
        ("print('x' * 10_000_000)", "stdout", "xxx"),
    ],
)
def test_a_block_stays_in_the_sandbox(server: Served, code: str, field: str, says: str) -> None:
    status, found = server.post("/hearth/run", {"code": code, "time_limit_s": 5.0})

    assert status == 200
    assert says in found[field]
    assert len(found["stdout"]) <= 32 << 10
    assert "HEARTH" not in found["stdout"]


@needs_sandbox
def test_who_leaves_ends_the_program(tmp_path: Path) -> None:
    body = json.dumps({"code": "import time\ntime.sleep(29)", "time_limit_s": 30.0})
    with served(tmp_path) as fresh:
        connection = http.client.HTTPConnection("127.0.0.1", fresh.port)
        connection.request("POST", "/hearth/run", body, {"Content-Type": "application/json"})
        while not fresh.house.sandboxed.num_under_way:
            time.sleep(0.01)
        connection.close()

        started = time.monotonic()
        fresh.house.sandboxed.close()  # waits for what runs
        assert time.monotonic() - started < 15


def test_a_server_that_runs_no_code_says_so(tmp_path: Path) -> None:
    with served(tmp_path, run_code=False) as quiet:
        status, found = quiet.post("/hearth/run", {"code": "print(1)"})
        assert (status, found["error"]["code"]) == (400, "unsupported")
        assert "runs no code" in found["error"]["message"]
        status, found = quiet.post("/v1/verified", {"prompt": "x", "tests": TESTS})
        assert status == 400
        status, _, data = quiet.request("GET", "/hearth/run")
        assert (status, json.loads(data)["available"]) == (200, False)


@needs_sandbox
def test_strangers_run_nothing(tmp_path: Path) -> None:
    with served(tmp_path, host="0.0.0.0") as shut:
        assert shut.post("/hearth/run", {"code": "print(1)"})[0] == 401
        assert shut.post("/v1/verified", {"prompt": "x", "tests": TESTS})[0] == 401
