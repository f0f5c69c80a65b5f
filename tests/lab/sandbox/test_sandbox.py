"""Nothing that a hostile program tries gets out of the sandbox, in either protection."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from lab.sandbox.hostile import DAEMON, PROGRAMS, Hostile

from codehearth.lab.sandbox import Limits, Outcome, Program, Protection, run
from codehearth.lab.sandbox.interpreters import python_for
from codehearth.lab.sandbox.protection import why_not_bubblewrap, why_not_landlock

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the programs name system calls by x86_64's numbers"
)
LIMITS = Limits(time_s=20.0, memory_bytes=128 << 20, disk_bytes=32 << 20, num_processes=40)
QUICK = Limits(time_s=1.0, memory_bytes=128 << 20, disk_bytes=32 << 20, num_processes=40)


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def protection(request: pytest.FixtureRequest) -> Protection:
    why_not = {"bubblewrap": why_not_bubblewrap, "landlock": why_not_landlock}[request.param]()
    if why_not:
        pytest.skip(f"{request.param} cannot be had here: {why_not}")
    return request.param  # type: ignore[no-any-return]


class World:
    """What there is to be hurt on this machine."""

    def __init__(self, folder: Path) -> None:
        self.secret_file = folder / "secret.txt"
        self.secret_file.write_text("the house's secret")
        self.target = folder / "target.txt"
        self.abstract = f"hearth-test-{os.getpid()}"
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.local = socket.socket(socket.AF_UNIX)
        self.local.bind(f"\0{self.abstract}")
        self.local.listen()
        threading.Thread(target=self._echo, daemon=True).start()
        self.victim = subprocess.Popen(
            [sys.executable, "-S", "-c", "import time; time.sleep(600)"],
            env={"HEARTH_CANARY": "sk-canary"},
        )

    def _echo(self) -> None:
        with suppress(OSError):
            while True:
                told, address = self.udp.recvfrom(10)
                self.udp.sendto(told, address)

    def filled(self, code: str) -> str:
        places = {
            "{PORT}": self.tcp.getsockname()[1],
            "{UDP}": self.udp.getsockname()[1],
            "{PID}": self.victim.pid,
            "{SECRET_FILE}": self.secret_file,
            "{TARGET}": self.target,
            "{ABSTRACT}": self.abstract,
            "{MARK}": "hearth-daemon",
        }
        for place, value in places.items():
            code = code.replace(place, str(value))
        return code

    def close(self) -> None:
        for one in (self.tcp, self.udp, self.local):
            one.close()
        self.victim.kill()
        self.victim.wait()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.close()


def run_code(code: str, protection: Protection, limits: Limits) -> Outcome:
    # Without root the user's other processes count, too.
    extra = 0 if os.geteuid() == 0 and protection != "none" else 400
    python = python_for(protection)
    prelude = f"import sys; FILES = sys.argv[1]; EXTRA = {extra}\n"
    program = Program(
        (str(python), "-I", "-S", "{files}/hostile.py", "{files}"), {"hostile.py": prelude + code}
    )
    return run(program, limits, protection)


@pytest.mark.parametrize("hostile", PROGRAMS, ids=lambda hostile: hostile.name)
def test_is_contained(hostile: Hostile, protection: Protection, world: World) -> None:
    limits = QUICK if "time" in hostile.endings else LIMITS
    before = time.monotonic()

    outcome = run_code(world.filled(hostile.code), protection, limits)

    assert "escaped" not in outcome.stdout, outcome
    assert outcome.exit_code != 125, outcome.stderr  # it ran at all
    assert not hostile.endings or outcome.ending in hostile.endings, outcome
    assert time.monotonic() - before < limits.time_s + 22
    assert not world.target.exists()
    assert world.victim.poll() is None
    assert len(outcome.stdout) <= limits.output_bytes


@pytest.mark.parametrize(
    "hostile", [one for one in PROGRAMS if one.control], ids=lambda hostile: hostile.name
)
def test_would_escape_where_nothing_protects(hostile: Hostile, world: World) -> None:
    """Otherwise the trials above would prove nothing."""
    outcome = run_code(world.filled(hostile.code), "none", LIMITS)

    world.target.unlink(missing_ok=True)
    assert "escaped" in outcome.stdout, outcome


def test_a_daemon_ends_with_its_program(protection: Protection, world: World) -> None:
    outcome = run_code(world.filled(DAEMON), protection, LIMITS)

    assert outcome.ending == "exit", outcome
    assert _daemons() == []


def test_a_daemon_would_stay_where_nothing_protects(world: World) -> None:
    run_code(world.filled(DAEMON), "none", LIMITS)

    left = _daemons()
    for process in left:
        process.send_signal(signal.SIGKILL)
    assert len(left) == 1


def test_nothing_is_left_of_a_growing_fork_bomb(protection: Protection) -> None:
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"

    run_code(code, protection, QUICK)

    assert [one for one in psutil.process_iter() if _is_hostile(one)] == []


def test_each_run_starts_in_an_empty_space(protection: Protection) -> None:
    code = "import os; print(os.listdir('.')); open('left', 'w').write('x')"

    first = run_code(code, protection, LIMITS)
    second = run_code(code, protection, LIMITS)

    assert first.stdout == second.stdout == "[]\n"


def _daemons() -> list[psutil.Process]:
    return [one for one in psutil.process_iter() if _line(one)[:1] == ["hearth-daemon"]]


def _is_hostile(process: psutil.Process) -> bool:
    return any(word.endswith("/files/hostile.py") for word in _line(process))


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
