"""Why a child died, told as an error: from its status and its last lines."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from codehearth.errors import EngineFailed, OutOfMemory

# What llama.cpp, PyTorch, C++, Python and GPU drivers write when an allocation fails. The last is
# what a thread that cannot have a stack says.
_MEMORY_WORDS = (
    "out of memory",
    "outofmemory",
    "failed to allocate",
    "unable to allocate",
    "cannot allocate memory",
    "can't allocate memory",
    "bad_alloc",
    "memoryerror",
    "erroroutofdevicememory",
    "resource temporarily unavailable",
)
_START_COMPLAINTS = ("error", "failed", "unknown", "unsupported", "invalid", "cannot", "no such")
# While serving, complaints about single requests are daily bread; these end a process.
_FATAL_WORDS = ("ggml_assert", "ggml_abort", "terminate called", "what():", "fatal", "cuda error")
_WORKERS_WORD = "error: "
_LAST_LINES = 15
_MAX_CAUSE_CHARS = 300

_LOG_PREFIX = re.compile(r"^(?:\x1b\[[0-9;]*m)*[\d.]+ [A-Z] (?:\w+ +[\w():]+: )?")  # llama.cpp's
_MISSING_LIBRARY = re.compile(r"\b(lib[\w.+-]+?\.so[.\d]*): cannot open shared object file")
_FOLDERS = re.compile(r"(?<![\w.])(?:~|\.{1,2})?/(?:[^\s'\"/]+/)*")


@dataclass(frozen=True)
class Death:
    """How a child ended. `status` is its exit code, or minus the signal; None where unknown.

    `was_out_of_memory` means that the kernel killed something for lack of memory meanwhile.
    """

    was_asked_for: bool
    status: int | None
    was_out_of_memory: bool = False
    was_ready: bool = True
    log_tail: str = ""

    @property
    def manner(self) -> str:
        """The end of the sentence "the engine …"."""
        if self.status is None:
            return "left no exit status"
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
    cause = cause_of(death)
    return EngineFailed(
        f"The engine of '{name}' {death.manner}" + (f": {cause}" if cause else "."),
        log_tail=death.log_tail,
        hint=_missing_library(death) or "`hearth logs` shows what it wrote",
    )


def _missing_library(death: Death) -> str | None:
    """What installs a library of the system that an engine is linked to and that is not here."""
    found = _MISSING_LIBRARY.search(death.log_tail)
    if found is None:
        return None
    if found[1].startswith("libgomp"):  # minimal systems and containers have none
        return "on Debian and Ubuntu `apt install libgomp1`, on Fedora `dnf install libgomp`"
    return f"install the package of your system that holds {found[1]}"


def cause_of(death: Death) -> str | None:
    """The line of the log that most likely tells the cause, without the folders it names.

    1. A process that was killed from outside said nothing about it.
    2. At the start it is what one of our workers says in so many words, in its last line.
    3. Else it is the first complaint: what follows are consequences. Later it is what ends a
       process.
    """
    if death.status == -signal.SIGKILL:
        return None
    words = _FATAL_WORDS if death.was_ready else _START_COMPLAINTS
    lines = [line.strip() for line in death.log_tail.splitlines()[-_LAST_LINES:]]
    told = [line for line in lines[-1:] if line.startswith(_WORKERS_WORD) and not death.was_ready]
    for line in told + lines:
        if any(word in line.lower() for word in words):
            return _FOLDERS.sub("", _LOG_PREFIX.sub("", line))[:_MAX_CAUSE_CHARS]
    return None


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
    if death.status == -signal.SIGKILL:
        return death.was_out_of_memory
    text = "\n".join(death.log_tail.splitlines()[-_LAST_LINES:]).lower()
    return any(word in text for word in _MEMORY_WORDS)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
