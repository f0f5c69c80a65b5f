"""Memory of real processes, and of what they started."""

from __future__ import annotations

import subprocess
import sys

from codehearth.engines import held_memory

# Holds 32 MiB; with a program as argument it starts that one beside.
HOLD = """
import subprocess, sys
held = bytearray(b"x") * (32 << 20)
if sys.argv[1:]:
    subprocess.run([sys.executable, "-c", sys.argv[1]])
else:
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_a_child_started_is_counted_with_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        assert child.stdout
        child.stdout.readline()

        assert held_memory.private_bytes(child.pid) >= 64 << 20
        assert held_memory.resident_bytes(child.pid) >= 64 << 20
        assert held_memory.touched_bytes(child.pid) >= 64 << 20


def test_a_process_that_is_gone_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], start_new_session=True) as child:
        child.wait()

    assert held_memory.private_bytes(child.pid) == 0
