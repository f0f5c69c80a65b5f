"""Runs a program under limits and, for "landlock", under Landlock: ``python enter.py SPEC``.

SPEC is JSON: see `Spec` in `running.py`. Started as a file with ``python -I -S``: the standard
library only, nothing of the house. Two ways:

- "bubblewrap" and "none": this process becomes the program. Inside bubblewrap the walls stand
  already; what is left are the limits, the user and the filter.
- "landlock": this process stays as the supervisor of the program, adopts whatever the program
  leaves behind, and kills it when the program ends, when SIGTERM comes, or when its parent dies.

What cannot be put in place ends the start with status 125 and a line on standard error: the
program never runs with less protection than was asked for.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import struct
import sys
import time
from typing import Any

EXIT_NOT_CONTAINED = 125
EXIT_CANNOT_START = 127
VERDICT_FD = 3

# <linux/prctl.h>
_PDEATHSIG, _DUMPABLE, _SECCOMP, _SUBREAPER, _NO_NEW_PRIVS = 1, 4, 22, 36, 38
_SECCOMP_FILTER = 2
# <linux/landlock.h>; the numbers of the calls are the same on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ, _READ_FILE = 1 << 0 | 1 << 2 | 1 << 3, 1 << 0 | 1 << 2
_WRITE_DEVICE = 1 << 1 | 1 << 2
_KILL_S = 15.0
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# The house, and the supervisor of a fork bomb, come first.
_NICENESS = 5

_libc = ctypes.CDLL(None, use_errno=True)


class _NotContained(Exception):
    """A protection that could not be put in place."""


def main(arguments: list[str]) -> int:
    spec = json.loads(arguments[0])
    try:
        if spec["protection"] == "landlock":
            return _supervise(spec)
        _limit(spec)
        return _become(spec)
    except (_NotContained, OSError, ValueError) as error:
        _say(f"not contained: {error}")
        return EXIT_NOT_CONTAINED


def _become(spec: dict[str, Any]) -> int:
    """Gives up what is left of privileges and becomes the program."""
    _take_user(spec["uid"])
    _check(_libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    if spec["protection"] == "landlock":
        _restrict_files(spec)
    if spec["filter"]:
        _filter_calls(bytes.fromhex(spec["filter"]))
    if spec["verdict_fd"] >= 0 and spec["verdict_fd"] != VERDICT_FD:
        os.dup2(spec["verdict_fd"], VERDICT_FD)
    os.set_inheritable(VERDICT_FD, True)
    os.closerange(VERDICT_FD + 1, 4096)
    os.chdir(spec["folder"])
    argv = spec["argv"]
    try:
        os.execvpe(argv[0], argv, spec["environment"])  # noqa: S606
    except OSError as error:
        _say(f"cannot start {argv[0]}: {error.strerror}")
    return EXIT_CANNOT_START


def _limit(spec: dict[str, Any]) -> None:
    """Resource limits; they hold for each process, the number of processes for the user."""
    os.nice(_NICENESS)
    memory, seconds = spec["memory_bytes"], int(spec["time_s"]) + 1
    limits = {
        resource.RLIMIT_DATA if spec["reserves_memory"] else resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: spec["disk_bytes"],
        resource.RLIMIT_NPROC: spec["num_processes"],
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for which, value in limits.items():
        _, hard = resource.getrlimit(which)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (bound, bound))


def _take_user(uid: int | None) -> None:
    if uid is None:
        return
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _restrict_files(spec: dict[str, Any]) -> None:
    abi = _libc.syscall(_CREATE_RULESET, 0, 0, 1)
    if abi < 3:
        raise _NotContained(f"Landlock is {'too old' if abi > 0 else 'not there'}")
    every_right = (1 << (16 if abi >= 5 else 15)) - 1
    scopes = 3 if abi >= 6 else 0  # abstract sockets, signals
    attributes = struct.pack("=QQQ", every_right, 3 if abi >= 4 else 0, scopes)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _libc.syscall(_CREATE_RULESET, attributes, size, 0)
    _check(ruleset, "Landlock's rules")
    for path in spec["readable"]:
        _allow(ruleset, path, _READ if os.path.isdir(path) else _READ_FILE)  # noqa: PTH112
    for path in spec["devices"]:
        _allow(ruleset, path, _WRITE_DEVICE)
    _allow(ruleset, spec["folder"], every_right & ~(1 << 6 | 1 << 11))  # no device nodes
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "Landlock")
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", rights, place)
    _check(_libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), f"Landlock's rule for {path}")
    os.close(place)


def _filter_calls(steps: bytes) -> None:
    buffer = ctypes.create_string_buffer(steps, len(steps))
    program = struct.pack("HxxxxxxQ", len(steps) // 8, ctypes.addressof(buffer))
    done = _libc.prctl(_SECCOMP, _SECCOMP_FILTER, ctypes.c_char_p(program), 0, 0)
    _check(done, "the filter of system calls")


def _supervise(spec: dict[str, Any]) -> int:
    _check(_libc.prctl(_SUBREAPER, 1, 0, 0, 0), "to adopt what is left")
    # Nobody may end us between the program's birth and the moment we are ready to end it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    for number in _ENDS:
        signal.signal(number, _asked_to_end)
    _check(_libc.prctl(_PDEATHSIG, signal.SIGTERM, 0, 0, 0), "to end with the parent")
    if os.getppid() != spec["parent"]:
        return EXIT_NOT_CONTAINED
    program = os.fork()
    if program == 0:
        os._exit(_in_child(spec))
    if spec["verdict_fd"] >= 0:
        os.close(spec["verdict_fd"])
    status: int = signal.SIGKILL
    with contextlib.suppress(_Asked):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
        status = _wait_for(program)
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
    _kill_all(spec["uid"])
    if os.WIFSIGNALED(status):  # end as it ended
        ending = os.WTERMSIG(status)
        if ending != signal.SIGKILL:
            signal.signal(ending, signal.SIG_DFL)
        os.kill(os.getpid(), ending)
    return os.waitstatus_to_exitcode(status)


def _in_child(spec: dict[str, Any]) -> int:
    try:
        for number in _ENDS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
        os.setsid()
        _limit(spec)
        return _become(spec)
    except BaseException as error:
        _say(f"not contained: {error}")
        return EXIT_NOT_CONTAINED


class _Asked(Exception):
    """Somebody wants an end."""


def _asked_to_end(_number: int, _frame: object) -> None:
    raise _Asked


def _wait_for(program: int) -> int:
    """The program's status; what it leaves behind is buried on the way."""
    while True:
        ended, status = os.wait()
        if ended == program:
            return status


def _kill_all(uid: int | None) -> None:
    """Until nobody is left. All are stopped before one is killed: where there is room, a fork bomb
    would fill it again, and one that is stopped cannot."""
    until = time.monotonic() + _KILL_S
    while time.monotonic() < until:
        if uid is not None:
            _kill_user(uid)
        for process in _stopped():
            _signal(process, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def _stopped() -> set[int]:
    """All descendants, told to stop; new ones are looked for until there are none."""
    stopped: set[int] = set()
    while new := _descendants() - stopped:
        for process in new:
            _signal(process, signal.SIGSTOP)
        stopped |= new
    return stopped


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _kill_user(uid: int) -> None:
    """As the program's own user: SIGKILL to all that this user has, at one stroke."""
    killer = os.fork()
    if killer == 0:
        try:
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(killer, 0)


def _descendants() -> set[int]:
    """Everybody below this process; orphans have become its children."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as told:  # noqa: PTH123
                    parent = int(told.read().rpartition(b") ")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            children.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        born = children.get(waiting.pop(), [])
        found.update(born)
        waiting += born
    return found


def _check(result: int, what: str) -> None:
    if result < 0:
        raise _NotContained(f"{what}: {os.strerror(ctypes.get_errno())}")


def _say(text: str) -> None:
    os.write(2, f"enter: {text}\n".encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
