"""The lab's children: programs of this room that compute with llama.cpp's library.

A job goes in as one JSON document, JSON lines come out. A child has an environment without
secrets, a session of its own, and is tied to us by `workers.tether`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codehearth.engines.threads import child_environment
from codehearth.errors import (
    BadWeights,
    DiskFull,
    EngineFailed,
    HearthError,
    InvalidRequest,
    Unsupported,
)
from codehearth.workers import tether

_KINDS: dict[str, type[HearthError]] = {
    kind.__name__: kind for kind in (BadWeights, DiskFull, InvalidRequest, Unsupported)
}
_PACKAGES = Path(__file__).parent.parent.parent


def child_lines(
    module: str, job: dict[str, Any], *, python: Path | None = None
) -> Iterator[dict[str, Any]]:
    """The JSON lines of a child of the lab. It is ended with whoever stops listening.

    A line with `error` (a class, with its message and hint) is raised here and nowhere else.

    `python` is another environment's, for a child that computes with what is installed there.

    Raises BadWeights, DiskFull, InvalidRequest, Unsupported and EngineFailed, and EngineFailed with
    the end of its standard error where it dies.
    """
    said = tempfile.TemporaryFile()  # noqa: SIM115 - closed below; it lives as long as the child
    argv = (sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), "--",
            str(python or sys.executable), "-P", "-m", module)  # fmt: skip
    child = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        env=child_environment(os.environ) | {"PYTHONPATH": str(_PACKAGES)},
        start_new_session=True,
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        with _broken_pipe_is_death():
            child.stdin.write(json.dumps(job).encode())
            child.stdin.close()
        for line in child.stdout:
            told = json.loads(line)
            if "error" in told:
                raise _error_of(told)
            yield told
        if child.wait() != 0:
            said.seek(0)
            raise EngineFailed(
                f"The lab's child ended with {child.returncode}.",
                log_tail=said.read().decode("utf-8", "replace")[-2000:],
                retry_after_s=None,
            )
    finally:
        child.terminate()
        for pipe in (child.stdin, child.stdout, said):
            pipe.close()
        child.wait()


def _error_of(told: dict[str, Any]) -> HearthError:
    kind = _KINDS.get(told["error"], EngineFailed)
    return kind(told["message"], hint=told.get("hint"))


@contextmanager
def _broken_pipe_is_death() -> Iterator[None]:
    """A child that died before it has read its job says why on standard error."""
    try:
        yield
    except BrokenPipeError:
        return
