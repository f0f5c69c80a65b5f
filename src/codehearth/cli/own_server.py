"""A server for the duration of one command: started, waited for, ended.

It is a child in a session of its own, so that a Ctrl-C in the terminal stops an answer and not the
server, tied to this process by `workers.tether`, so that it cannot be left behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from codehearth.cli.output import say
from codehearth.errors import BadSetting, HearthError, ServerUnreachable
from codehearth.gateway.running import Running, find_running
from codehearth.settings import Settings
from codehearth.workers import tether

_STOP_S = 15.0
_MAX_TRIES = 5


@contextmanager
def own_server(settings: Settings, *, model: str | None) -> Iterator[Running]:
    """A server with `model` as default; raises HearthError with what it said where it fails.

    Where another command was quicker to start one on the same data folder, that one is used.
    """
    say("No server is running; one is started for this command.")
    for attempt in range(1, _MAX_TRIES + 1):
        with tempfile.TemporaryFile() as said:
            child = _start(settings, model, said)
            try:
                running = _announced(settings, child)
                if running is not None and (child.poll() is None or _answers(running)):
                    yield running
                    return
            finally:
                _end(child)
            # Another command's server may have been in the way and be gone by now.
            if child.returncode != BadSetting.exit_code or attempt == _MAX_TRIES:
                raise _failure(said)


def _start(settings: Settings, model: str | None, said: IO[bytes]) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "codehearth", "serve", "--port", "0", "--no-page"]
    program += ["--host", "127.0.0.1", "--data", str(settings.data)]
    program += ["--model", model] if model else []
    tied = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), "--", *program]
    return subprocess.Popen(
        tied,
        stdin=subprocess.PIPE,  # its end ends the child where the kernel does not
        stdout=subprocess.PIPE,
        stderr=said,
        start_new_session=True,
    )


def _announced(settings: Settings, child: subprocess.Popen[bytes]) -> Running | None:
    """The server once it printed that it takes requests, or the one that was quicker."""
    assert child.stdout is not None
    if not child.stdout.readline():
        child.wait()
    return find_running(settings.data)


def _answers(running: Running) -> bool:
    """Whether another command's server is still there: it ends with its command."""
    from codehearth.client import Client

    with Client(running.url, key=running.token) as client:
        try:
            client.models()
        except ServerUnreachable:
            return False
    return True


def _failure(said: IO[bytes]) -> HearthError:
    said.seek(0)
    lines = said.read().decode("utf-8", "replace").strip()
    return HearthError(
        f"The server for this command did not start:\n{lines}",
        hint="`hearth doctor` looks for the cause",
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    for pipe in (child.stdin, child.stdout):
        assert pipe is not None
        pipe.close()
    try:
        child.wait(_STOP_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
        child.wait()
