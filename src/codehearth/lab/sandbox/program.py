"""What is run in the sandbox, with which bounds, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Protection = Literal["bubblewrap", "landlock", "none"]

Ending = Literal["exit", "signal", "time", "memory", "disk", "stopped"]
"""How a program ended: by itself, by a signal, at one of its limits, or by who had it run."""

# Where a program finds its own files, and what it may write to; landlock has other paths, so
# programs use names relative to their working folder and {files} in their arguments.
FILES = "{files}"


@dataclass(frozen=True)
class Limits:
    """Bounds of one run. Memory holds for each process and, watched, for all together."""

    time_s: float = 10.0
    memory_bytes: int = 512 << 20
    num_processes: int = 32
    disk_bytes: int = 64 << 20
    output_bytes: int = 64 << 10


@dataclass(frozen=True)
class Program:
    """`argv` with its read-only `files` (at most one folder deep); "{files}" in an argument is the
    folder they lie in.

    `reserves_memory`: it reserves much more address space than it uses, as V8 and the JVM do, so
    what it writes to is limited and not what it reserves.
    """

    argv: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    reserves_memory: bool = False


@dataclass(frozen=True)
class Outcome:
    """`verdict` is what was written to descriptor 3; outputs are cut at the limit."""

    ending: Ending
    exit_code: int
    stdout: str
    stderr: str
    verdict: bytes
    duration_s: float
    was_cut: bool = False
