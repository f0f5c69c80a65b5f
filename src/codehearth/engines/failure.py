"""Why a child died, told as an error: pure, from its status and its last lines."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from codehearth.errors import EngineFailed, OutOfMemory

# What llama.cpp, C++ and Python write when an allocation fails.
_MEMORY_WORDS = (
    "out of memory",
    "failed to allocate",
    "unable to allocate",
    "cannot allocate memory",
    "bad_alloc",
    "memoryerror",
    "erroroutofdevicememory",
)
_CAUSE_WORDS = ("error", "failed", "unknown", "unsupported", "invalid", "cannot", "terminate")


@dataclass(frozen=True)
class Death:
    """How a child ended. `status` is its exit code, or minus the signal; None if never started."""

    was_asked_for: bool
    status: int | None
    was_out_of_memory: bool
    log_tail: str

    @property
    def manner(self) -> str:
        """The end of the sentence "the engine …"."""
        if self.status is None:
            return "was not started"
        if self.status < 0:
            return f"was killed by {_signal_name(-self.status)}"
        return f"exited with code {self.status}"


def failure_of(name: str, death: Death | None) -> EngineFailed:
    """The error that says why the engine of model `name` does not serve."""
    if death is None or death.was_asked_for:
        return EngineFailed(f"The engine of '{name}' was stopped.", hint="ask again")
    if _lacked_memory(death):
        return OutOfMemory(
            f"The engine of '{name}' ran out of memory ({death.manner}).",
            log_tail=death.log_tail,
            hint="load it with a smaller context or in a smaller precision, or stop another model",
        )
    cause = cause_in(death.log_tail)
    return EngineFailed(
        f"The engine of '{name}' {death.manner}" + (f": {cause}" if cause else "."),
        log_tail=death.log_tail,
        hint="`hearth logs` shows what it wrote",
    )


def cause_in(log_tail: str) -> str | None:
    """The line of a log that most likely tells the cause: the first of the last complaints."""
    lines = [line.strip() for line in log_tail.splitlines()]
    complaints = [line for line in lines if any(word in line.lower() for word in _CAUSE_WORDS)]
    return complaints[0][:300] if complaints else None


def oom_kills() -> int | None:
    """How many processes the kernel has killed for lack of memory so far; None where unknown."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None


def _lacked_memory(death: Death) -> bool:
    if death.status == -signal.SIGKILL and death.was_out_of_memory:
        return True
    text = death.log_tail.lower()
    return any(word in text for word in _MEMORY_WORDS)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
