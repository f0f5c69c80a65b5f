"""The trainer as a child: its command line, its environment, the lines that it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from codehearth.engines.environments import Environments
from codehearth.engines.failure import Death, oom_kills
from codehearth.engines.failure import failure_of as death_of
from codehearth.engines.installed import Broken, Installed
from codehearth.engines.threads import child_environment
from codehearth.engines.worker import START
from codehearth.errors import (
    BadWeights,
    DiskFull,
    EngineFailed,
    EngineMissing,
    HearthError,
    InvalidRequest,
    OutOfMemory,
    Unsupported,
)
from codehearth.workers import tether

INSTALL = "`hearth engines install tuning`"

_TAIL_BYTES = 4000
_KINDS: Mapping[str, type[HearthError]] = {
    kind.__name__: kind
    for kind in (InvalidRequest, Unsupported, BadWeights, DiskFull, EngineFailed)
}
_SAVING_S = 300.0  # a training that is told to stop ends its step and saves its state
_EXIT_STOPPED = 75
_RETURNED_BYTES = 8 << 20


def installed(environments: Path) -> Installed:
    """The environment `tuning`; raises EngineMissing with the command that makes it."""
    state = Environments(environments).state("tuning")
    if isinstance(state, Installed):
        return state
    reason = f"is broken: {state.reason}" if isinstance(state, Broken) else "is not installed"
    raise EngineMissing(
        f"What trains models {reason}.", hint=f"{INSTALL} (about 1.9 GiB)", retry_after_s=None
    )


def command(python: Path, job: Path, *, num_gpus: int) -> tuple[str, ...]:
    """The trainer's argv: one process, or one for each GPU through accelerate."""
    launched = (
        "-P", "-m", "accelerate.commands.launch", "--multi_gpu",
        "--num_processes", str(num_gpus), "--num_machines", "1", "--mixed_precision", "no",
        "--dynamo_backend", "no",
    )  # fmt: skip
    how = launched if num_gpus > 1 else ("-P", "-u", "-W", "ignore")
    return (str(python), *how, str(START), "tuning", str(job))


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The trainer's environment, in which glibc gives large tensors back to the system when they
    are freed. Its own threshold grows to 32 MiB, and below that it kept so many holes that half a
    billion parameters took a third more memory."""
    return {**child_environment(ours), "MALLOC_MMAP_THRESHOLD_": str(_RETURNED_BYTES)}


def lines(argv: Sequence[str], log: Path) -> Iterator[Mapping[str, Any]]:
    """What the trainer says until it is done; `log` gets all else that it writes.

    Whoever stops listening stops it, and it saves its state first. Raises the error that it tells,
    OutOfMemory or EngineFailed where it dies.
    """
    kills = oom_kills()
    with log.open("ab") as errors_to:
        child = subprocess.Popen(
            (sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), "--", *argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors_to,
            env=environment(os.environ),
            start_new_session=True,
        )
        assert child.stdout is not None
        try:
            yield from _told(child.stdout)
            if child.wait() not in (0, _EXIT_STOPPED):
                raise _death(child.returncode, log, kills)
        finally:
            _end(child)


def _told(out: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    for line in out:
        told = json.loads(line)
        if "error" in told:
            raise error_of(told["error"])
        yield told


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.communicate(timeout=_SAVING_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
        child.communicate()


def error_of(told: Mapping[str, Any]) -> HearthError:
    """The trainer's error as the house's."""
    message = str(told.get("message"))
    if told.get("kind") == "OutOfMemory":
        return OutOfMemory(message, hint="take a smaller --batch, or --checkpointing")
    return _KINDS.get(str(told.get("kind")), HearthError)(message)


def _death(status: int, log: Path, kills: int | None) -> EngineFailed:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        tail = file.read().decode("utf-8", "replace")
    now = oom_kills()
    death = Death(
        was_asked_for=False,
        status=status,
        was_out_of_memory=kills is not None and now is not None and now > kills,
        log_tail=tail,
    )
    found = death_of("trainer", death)
    if isinstance(found, OutOfMemory):
        return OutOfMemory(
            "The training ran out of memory.",
            log_tail=tail,
            hint="take a smaller --batch, --checkpointing, or --quantize int4",
        )
    return EngineFailed(
        f"The training broke off: the trainer {death.manner}.",
        log_tail=tail,
        hint="the same command goes on from its last checkpoint",
        retry_after_s=None,
    )
