"""A server that lives as long as one command: it comes, it answers, it is never left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from codehearth.gateway.running import find_running
from tests.cli.command_line import HEARTH, NOBODY, Hearth

ENDLESS = ("run", "starter", "write a function", "--max-tokens", "4000", "--temperature", "2")


def _children_of_home(home: Path) -> list[int]:
    """Processes that were started from this home, by their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(home):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def _wait_until_gone(hearth: Hearth) -> None:
    """Waits for the ends of processes that are no children of ours."""
    patient_until = time.monotonic() + 60
    while _children_of_home(hearth.home):
        assert time.monotonic() < patient_until, _children_of_home(hearth.home)
        time.sleep(0.02)


def test_a_question_on_a_fresh_machine_is_answered_at_once(hearth: Hearth) -> None:
    result = hearth("run", "starter", "write a function", "--max-tokens", "20")

    assert result.code == 0
    assert result.out.strip()
    assert result.err == "No server is running; one is started for this command.\n"
    assert find_running(hearth.data) is None
    assert _children_of_home(hearth.home) == []


def test_a_place_is_completed_without_a_server_too(hearth: Hearth) -> None:
    result = hearth("complete", "--max-tokens", "4", stdin="def add(a, b):")

    assert result.code == 0


def test_its_model_may_be_a_path(hearth: Hearth) -> None:
    data = Path(__file__).parent.parent.parent / "src" / "codehearth" / "data" / "starter.gguf"
    (hearth.home / "tiny.gguf").write_bytes(data.read_bytes())

    result = hearth("run", "./tiny.gguf", "hi", "--max-tokens", "2", "--json")

    assert result.documents[-1]["model"] == "tiny"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_command_that_is_stopped_takes_its_server_along(
    hearth: Hearth, number: signal.Signals, code: int
) -> None:
    with hearth.started(*ENDLESS, "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)

    assert process.returncode in (code, 0)
    assert b"Traceback" not in err
    _wait_until_gone(hearth)


def test_a_command_that_is_killed_takes_its_server_along(hearth: Hearth) -> None:
    with hearth.started(*ENDLESS, "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.communicate(timeout=60)

    _wait_until_gone(hearth)


def test_a_running_server_of_another_command_is_used(hearth: Hearth) -> None:
    """Two at once on a fresh machine: the second must not fail for the lock of the first."""
    processes = [
        subprocess.Popen(
            [*HEARTH, "run", "starter", "hi", "--max-tokens", "8", "--json"],
            env=hearth.environment,
            cwd=hearth.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]

    for process, (out, err) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, err.decode()
        assert json.loads(out.splitlines()[-1])["done"] is True
    _wait_until_gone(hearth)


def test_a_server_that_does_not_start_is_explained(hearth: Hearth) -> None:
    config = hearth.home / ".config" / "hearth" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('allowed_hosts = ["x"]\nmemory = "1MiB"\n')
    (hearth.data).mkdir(parents=True)
    (hearth.data / "server.lock").mkdir()

    result = hearth("run", "starter", "hi")

    assert result.code == 1
    assert "The server for this command did not start" in result.err
    assert "hearth doctor" in result.err


def test_an_unknown_model_starts_nothing(hearth: Hearth) -> None:
    result = hearth("run", "qwen2.5-coder:7b", "hi")

    assert result.code == 4
    assert "`hearth pull qwen2.5-coder-7b`" in result.err
    assert "started" not in result.err


def test_nothing_is_started_where_a_server_is_named(hearth: Hearth) -> None:
    result = hearth("run", "hi", variables={"OPENAI_BASE_URL": NOBODY})

    assert result.code == 5
    assert "started" not in result.err


def test_no_prompt_and_no_terminal_is_a_usage_error(hearth: Hearth) -> None:
    result = hearth("run", "starter")

    assert result.code == 2
    assert result.err.startswith("error: There is no prompt.")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_key_of_a_server_is_in_no_command_line(hearth: Hearth) -> None:
    with hearth.started(*ENDLESS, "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        running = find_running(hearth.data)
        assert running is not None
        lines = [
            Path(f"/proc/{pid}/cmdline").read_bytes() for pid in _children_of_home(hearth.home)
        ]

    assert len(lines) >= 2
    assert all(running.token.encode() not in line for line in lines)
    assert hearth.data.stat().st_mode & 0o077 == 0
