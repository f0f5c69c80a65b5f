"""One program, run to its end or to one of its limits."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from codehearth.lab.sandbox import bubblewrap, interpreters, seccomp
from codehearth.lab.sandbox.place import Place
from codehearth.lab.sandbox.program import FILES, Ending, Limits, Outcome, Program, Protection
from codehearth.lab.sandbox.watch import Watch

_ENTER = Path(__file__).with_name("enter.py")
_WATCH_S = 0.05
_FIRST_WATCH_S = 0.15
_END_S = 20.0
_MAX_VERDICT_BYTES = 1 << 20
# Users that no system hands out; each run has one of its own, so that limits count one run only.
_FIRST_USER, _NUM_USERS = 60_100, 4_800


def run(
    program: Program,
    limits: Limits,
    protection: Protection,
    stop: threading.Event | None = None,
) -> Outcome:
    """Runs to the end, whatever it does. Blocks, at most some seconds longer than the time limit.

    Call it from any thread; several may run at the same time. `stop` ends it within 0.1 s.
    """
    with Place.made(program) as place:
        return _Run(program, limits, protection, place, stop or threading.Event()).run()


@dataclass
class _Run:
    program: Program
    limits: Limits
    protection: Protection
    place: Place
    stop: threading.Event
    outputs: dict[str, bytearray] = field(
        default_factory=lambda: {name: bytearray() for name in ("stdout", "stderr", "verdict")}
    )
    was_cut: bool = False
    ending: Ending | None = None
    # Where bubblewrap writes the number of the first process inside, as the host knows it.
    told: IO[bytes] = field(default_factory=tempfile.TemporaryFile)

    def run(self) -> Outcome:
        started = time.monotonic()
        reading, writing = os.pipe()
        try:
            child = self._start(writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        with child, os.fdopen(reading, "rb", buffering=0) as verdict:
            try:
                self._listen(child, verdict, started)
            finally:
                self._end(child)
                self.told.close()
        code = child.returncode
        return Outcome(
            ending=self.ending or ("signal" if code < 0 else "exit"),
            exit_code=code,
            stdout=self._text("stdout"),
            stderr=self._text("stderr"),
            verdict=bytes(self.outputs["verdict"]),
            duration_s=round(time.monotonic() - started, 3),
            was_cut=self.was_cut,
        )

    def _text(self, name: str) -> str:
        return self.outputs[name].decode("utf-8", "replace")

    def _start(self, verdict: int) -> subprocess.Popen[bytes]:
        is_root = os.geteuid() == 0
        uid = _FIRST_USER + secrets.randbelow(_NUM_USERS) if is_root else None
        if self.protection == "none":
            uid = None
        if uid is not None and self.protection == "landlock":
            os.chown(self.place.folder, uid, uid)
        enter = [str(interpreters.base_python()), "-I", "-S"]
        passed = [verdict]
        with contextlib.ExitStack() as stack:
            if self.protection == "bubblewrap":
                walls = stack.enter_context(tempfile.TemporaryFile())
                walls.write("\0".join(self._walls(is_root=is_root)).encode() + b"\0")
                walls.seek(0)
                passed += [walls.fileno(), self.told.fileno()]
                bwrap = shutil.which("bwrap") or "bwrap"
                enter = [
                    bwrap, "--info-fd", str(self.told.fileno()), "--args", str(walls.fileno()),
                    "--", *enter,
                ]  # fmt: skip
                enter.append(bubblewrap.INSIDE_ENTER)
            else:
                enter.append(str(_ENTER))
            return subprocess.Popen(
                [*enter, json.dumps(self._spec(uid, verdict))],
                stdin=stack.enter_context(self.place.stdin.open("rb")),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                cwd="/",
                pass_fds=passed,
                start_new_session=True,
            )

    def _walls(self, *, is_root: bool) -> list[str]:
        system = {
            name: str(Path(name).readlink()) if Path(name).is_symlink() else None
            for name in (*interpreters.SYSTEM_FOLDERS, *interpreters.SYSTEM_FILES)
            if Path(name).exists()
        }
        return bubblewrap.arguments(
            files=str(self.place.files),
            enter=str(_ENTER),
            prefix=interpreters.python_prefix(interpreters.base_python()),
            system=system,
            disk_bytes=self.limits.disk_bytes,
            is_root=is_root,
        )

    def _spec(self, uid: int | None, verdict: int) -> dict[str, object]:
        """What `enter.py` reads."""
        is_walled = self.protection == "bubblewrap"
        files = bubblewrap.INSIDE_FILES if is_walled else str(self.place.files)
        folder = bubblewrap.INSIDE_FOLDER if is_walled else str(self.place.folder)
        python = interpreters.python_for(self.protection)
        prefix = interpreters.python_prefix(python) if python else None
        readable = (*interpreters.SYSTEM_FOLDERS, *interpreters.SYSTEM_FILES, files, prefix)
        return {
            "protection": self.protection,
            "parent": os.getpid(),
            "argv": [word.replace(FILES, files) for word in self.program.argv],
            "environment": _environment(folder),
            "folder": folder,
            "uid": uid,
            "verdict_fd": verdict,
            "filter": self._filter(is_walled=is_walled),
            "readable": [path for path in readable if path and Path(path).exists()],
            "devices": interpreters.DEVICES,
            "memory_bytes": self.limits.memory_bytes,
            "reserves_memory": self.program.reserves_memory,
            "time_s": self.limits.time_s,
            "disk_bytes": self.limits.disk_bytes,
            "num_processes": self.limits.num_processes + (0 if uid is not None else _own_tasks()),
        }

    def _filter(self, *, is_walled: bool) -> str:
        if self.protection == "none":
            return ""
        is_root = os.geteuid() == 0
        return seccomp.program(
            platform.machine(),
            has_namespaces=is_walled,
            has_own_user=is_root,
            knows_signals=is_root or _landlock_abi() >= 6,
        ).hex()

    def _listen(self, child: subprocess.Popen[bytes], verdict: object, started: float) -> None:
        """Reads what it says until it ends or a limit is reached."""
        watch = Watch(child.pid, self.place.folder, self.limits)
        next_look = started + _FIRST_WATCH_S
        with selectors.DefaultSelector() as pipes:
            for name, pipe in (
                ("stdout", child.stdout),
                ("stderr", child.stderr),
                ("verdict", verdict),
            ):
                pipes.register(pipe, selectors.EVENT_READ, name)  # type: ignore[arg-type]
            until = started + self.limits.time_s
            while child.poll() is None:
                now = time.monotonic()
                if now >= until:
                    self.ending = "time"
                    return
                if now >= next_look:
                    self.ending = "stopped" if self.stop.is_set() else watch.exceeded()
                    next_look = time.monotonic() + _WATCH_S
                    if self.ending:
                        return
                if pipes.get_map():
                    self._read(pipes, max(0.0, min(until, next_look) - now))
                else:  # it closed all; its end is what is waited for
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(max(0.001, min(until, next_look) - now))
            while pipes.get_map() and self._read(pipes, 0.0):
                pass

    def _read(self, pipes: selectors.BaseSelector, wait_s: float) -> bool:
        """Whether anything came."""
        ready = pipes.select(wait_s)
        for key, _ in ready:
            received = os.read(key.fd, 1 << 16)
            if received:
                self._keep(key.data, received)
            else:
                pipes.unregister(key.fileobj)
        return bool(ready)

    def _keep(self, name: str, received: bytes) -> None:
        bound = _MAX_VERDICT_BYTES if name == "verdict" else self.limits.output_bytes
        room = bound - len(self.outputs[name])
        self.outputs[name] += received[:room]
        self.was_cut = self.was_cut or len(received) > room

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        """Nobody of it is left afterwards."""
        if self.protection == "landlock" and child.poll() is None:
            child.terminate()  # its supervisor kills what it started
        if self.protection == "bubblewrap":
            self._end_space()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0 if self.protection == "none" else _END_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    def _end_space(self) -> None:
        """Kills the first process of bubblewrap's space and waits until it is gone: the kernel lets
        it go when all others of the space are. bubblewrap itself does not wait for that."""
        self.told.seek(0)
        found = re.search(rb'"child-pid":\s*(\d+)', self.told.read(4096))
        if found is None:  # it never came so far
            return
        try:
            first = os.pidfd_open(int(found[1]))
        except OSError:
            return
        try:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(first, signal.SIGKILL)
            with selectors.DefaultSelector() as ends:
                ends.register(first, selectors.EVENT_READ)
                ends.select(_END_S)
        finally:
            os.close(first)


def _environment(folder: str) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": folder,
        "TMPDIR": folder,
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Threads of numeric libraries: each would reserve memory of its own.
        "OPENBLAS_NUM_THREADS": "1",
    }


def _own_tasks() -> int:
    """Threads of this user now: the kernel counts them together with the program's."""
    total = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        if uids and uids.real == os.geteuid():
            total += process.info["num_threads"] or 0
    return total


def _landlock_abi() -> int:
    import ctypes

    return int(ctypes.CDLL(None, use_errno=True).syscall(444, 0, 0, 1))


assert sys.platform != "win32"
