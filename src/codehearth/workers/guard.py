"""Ends a process group once its leader is gone: ``python guard.py`` as the leader's child.

For engines that start processes of their own, which would outlive them: the kernel kills the leader
with the server (`tether.py`), and this kills the rest. The leader holds the other end of standard
input, so its end is seen however it came. Not covered: who left the group.

Started as a file with ``python -I -S``: the standard library only, nothing of the house.
"""

from __future__ import annotations

import os
import signal
import sys

EXIT_NOT_LED = 64


def main() -> int:
    if os.getpgid(0) != os.getppid():
        print("guard: whoever started this leads no group", file=sys.stderr)  # noqa: T201
        return EXIT_NOT_LED
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
