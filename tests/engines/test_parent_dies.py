"""No engine outlives its server, however the server ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from engines.children import is_gone, wait_gone
from tiny_models import tiny_qwen2

from codehearth.engines.endpoint import Place

KEEPER = Path(__file__).parent / "keeper.py"
SRC = Path(__file__).parent.parent.parent / "src"


def start_keeper(*flags: str, temporary: Path) -> tuple[subprocess.Popen[str], int, Path]:
    """A server with one engine: the server, the engine's pid, the socket's folder."""
    environment = {**os.environ, "PYTHONPATH": str(SRC), "TMPDIR": str(temporary)}
    server = subprocess.Popen(
        [sys.executable, str(KEEPER), *flags],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert server.stdout is not None
    pid, folder = server.stdout.readline().split()
    return server, int(pid), Path(folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_engine_dies_with_its_server(number: signal.Signals, tmp_path: Path) -> None:
    server, pid, _ = start_keeper("--do", "ignore-sigterm", temporary=tmp_path)
    assert not is_gone(pid)

    server.send_signal(number)
    server.communicate(timeout=60)

    wait_gone(pid)
    assert is_gone(pid)


def test_llama_cpp_dies_with_its_server(tmp_path: Path) -> None:
    model = tiny_qwen2(tmp_path)
    server, pid, _ = start_keeper("--gguf", str(model), temporary=tmp_path)

    server.kill()
    server.communicate(timeout=60)

    wait_gone(pid)
    assert is_gone(pid)


def test_a_hung_engine_dies_with_its_server(tmp_path: Path) -> None:
    server, pid, _ = start_keeper(temporary=tmp_path)
    os.kill(pid, signal.SIGSTOP)

    server.kill()
    server.communicate(timeout=60)

    wait_gone(pid)
    assert is_gone(pid)


def test_what_a_killed_server_left_is_swept_by_the_next_one() -> None:
    """A folder that is in use is not: its lock is held, by whatever process in any container."""
    # Not below pytest's folder: its path may be too long for a socket.
    root = Path("/tmp")
    server, pid, folder = start_keeper(temporary=root)
    used = Place.make(root)
    assert folder.exists()

    server.kill()
    server.communicate(timeout=60)
    wait_gone(pid)
    again = Place.make(root)

    assert not folder.exists()
    assert used.folder.exists() and again.folder.exists()
    used.remove()
    again.remove()
