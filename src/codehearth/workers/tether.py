"""Runs a program that must not outlive its parent: ``python tether.py PARENT_PID -- PROGRAM ...``.

An engine whose server was killed would keep gigabytes and cores for ever. What happens here:

- On Linux the kernel is asked to SIGKILL this process when its parent ends (PDEATHSIG, which
  survives exec), then it is checked that the parent is still the one that started us, because it
  may have ended before we asked, and then the program takes this process over. No process stays
  between. The kernel looks at the parent's *thread*: start children from the thread that lives as
  long as the server (the event loop's), not from a pool of threads.
- Elsewhere (macOS) this process stays, waits for the end of its standard input, of which the
  parent holds the other end, and kills the program. `--supervise` asks for that on Linux too.

It also gives up core dumps (they hold prompts) and new privileges, and tells the kernel that the
program should go before its parent when memory runs out. Not covered: a program that starts
children in another session and then is killed.

Started as a file with ``python -I -S``: the standard library only, nothing of the house.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

EXIT_USAGE = 64
EXIT_PARENT_GONE = 65
EXIT_CANNOT_START = 127

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PR_SET_NO_NEW_PRIVS = 38
_OOM_SCORE_ADJUSTMENT = "500"  # of 1000: the engine goes before the server


def main(arguments: Sequence[str]) -> int:
    """Parse ``[--supervise] PARENT_PID -- PROGRAM ...`` and become or supervise the program."""
    words = list(arguments)
    supervise = words[:1] == ["--supervise"]
    if supervise:
        words.pop(0)
    if len(words) < 3 or not words[0].isdigit() or words[1] != "--":
        print("usage: tether.py [--supervise] PARENT_PID -- PROGRAM ...", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    parent, program = int(words[0]), words[2:]
    _give_up_core_dumps()
    if sys.platform == "linux":
        _prefer_me_when_memory_runs_out()
        if not supervise:
            return _become(program, parent)
    return _supervise(program)


def _become(program: list[str], parent: int) -> int:
    """Tie this process to its parent and exec; returns only if that was impossible."""
    _ask_to_die_with_parent()
    if os.getppid() != parent:
        return EXIT_PARENT_GONE
    try:
        os.execvpe(program[0], program, os.environ)  # noqa: S606
    except OSError as error:
        print(f"tether: cannot start {program[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return EXIT_CANNOT_START


def _ask_to_die_with_parent() -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # best effort: kernels before 3.5 lack it


def _supervise(program: list[str]) -> int:
    """Run the program, end it when standard input ends, and pass on SIGTERM and its exit status."""
    early: list[int] = []  # what arrives before there is somebody to pass it on to
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: early.append(received))
    try:
        child = subprocess.Popen(program, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"tether: cannot start {program[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return EXIT_CANNOT_START
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: child.send_signal(received))
    for received in early:
        child.send_signal(received)
    threading.Thread(target=_kill_at_end_of_input, args=(child,), daemon=True).start()
    status = child.wait()
    if status < 0:  # die of the same signal, so that the parent sees the cause
        with contextlib.suppress(OSError):  # SIGKILL has no other meaning
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _kill_at_end_of_input(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    child.kill()


def _give_up_core_dumps() -> None:
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _prefer_me_when_memory_runs_out() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE_ADJUSTMENT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
