"""One step of an installation: a program that runs to its end, and tells what it does."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from codehearth.errors import EngineFailed

MAX_TAIL_LINES = 15

# Steps are told as they begin; most are what the program says it does.
Progress = Callable[[str], None]
StepOf = Callable[[str], str | None]


def run(
    argv: Sequence[str],
    environment: Mapping[str, str],
    purpose: str,
    progress: Progress | None = None,
    *,
    step_of: StepOf | None = None,
    hint_of: Callable[[Sequence[str]], str] | None = None,
    folder: Path | None = None,
) -> None:
    """Run a program to its end, telling what it does; raises EngineFailed with its last lines."""
    said: list[str] = []
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd=folder,
        text=True,
        errors="replace",
    ) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                said.append(line.rstrip())
                if progress is not None and step_of is not None and (step := step_of(line)):
                    progress(step)
        except BaseException:  # Ctrl-C: it would go on without us
            child.terminate()
            raise
    if child.returncode != 0:
        raise EngineFailed(
            f"This command failed, which was to {purpose}: {' '.join(argv[1:4])} …",
            log_tail="\n".join(said[-MAX_TAIL_LINES:]),
            hint=hint_of(said) if hint_of is not None else None,
            retry_after_s=None,
        )
