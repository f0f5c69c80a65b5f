"""A tethered program takes over its process, or is supervised; in both cases it goes with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from codehearth.workers import tether

TETHER = Path(tether.__file__)


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(TETHER), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process stays between")
def test_the_program_takes_the_process_over() -> None:
    process = start(str(os.getpid()), "--", "sh", "-c", "echo $$; exit 7")

    output, _ = process.communicate(timeout=60)

    assert int(output) == process.pid
    assert process.returncode == 7


def test_a_supervised_program_passes_its_exit_on() -> None:
    process = start("--supervise", str(os.getpid()), "--", "sh", "-c", "exit 7")

    status = process.wait(timeout=60)

    process.communicate()
    assert status == 7


def test_a_supervised_program_that_is_killed_shows_by_which_signal() -> None:
    process = start("--supervise", str(os.getpid()), "--", "sh", "-c", "kill -SEGV $$")

    # Not `communicate`: it would close the input, which kills the program.
    status = process.wait(timeout=60)

    process.communicate()
    assert status == -signal.SIGSEGV


def test_a_supervised_program_is_told_to_end() -> None:
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    process = start("--supervise", str(os.getpid()), "--", "sh", "-c", script)
    assert process.stdout is not None
    process.stdout.readline()

    process.terminate()
    status = process.wait(timeout=60)

    process.communicate()
    assert status == 5


def test_a_supervised_program_ends_when_our_end_of_the_pipe_closes() -> None:
    script = "trap '' TERM; echo $$; while :; do sleep 0.01; done"
    process = start("--supervise", str(os.getpid()), "--", "sh", "-c", script)
    assert process.stdout is not None
    program = psutil.Process(int(process.stdout.readline()))

    process.communicate(timeout=60)  # closes the input first

    assert process.returncode == -signal.SIGKILL
    assert not program.is_running() or program.status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG")
def test_a_parent_that_is_already_gone_starts_nothing(tmp_path: Path) -> None:
    process = start("1", "--", "touch", str(tmp_path / "started"))

    process.communicate(timeout=60)

    assert process.returncode == tether.EXIT_PARENT_GONE
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("mode", [(), ("--supervise",)])
def test_a_program_that_is_not_there_is_named(mode: tuple[str, ...]) -> None:
    process = start(*mode, str(os.getpid()), "--", "/no/such/program")

    _, complaint = process.communicate(timeout=60)

    assert process.returncode == tether.EXIT_CANNOT_START
    assert "/no/such/program" in complaint


@pytest.mark.parametrize("words", [(), ("12",), ("x", "--", "true"), ("12", "true", "--")])
def test_wrong_arguments_are_refused(words: tuple[str, ...]) -> None:
    process = start(*words)

    _, complaint = process.communicate(timeout=60)

    assert process.returncode == tether.EXIT_USAGE
    assert complaint.startswith("usage:")
