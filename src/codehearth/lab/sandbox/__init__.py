"""Where code that a model wrote is run: contained, limited, without the house's secrets.

Two protections, the better first; where neither works, nothing is run unless somebody asks for
"none" by name:

- **bubblewrap**: namespaces of its own for processes, network, mounts, IPC and host name; where
  the house runs as root a user of its own, too, so that limits count.
- **landlock**: the kernel's Landlock for files, TCP and signals (from Linux 6.2), without any
  program to install. As root also a user of its own.

Both: an empty environment, no new privileges, a seccomp filter (`seccomp.py`), resource limits, a
watch on the memory of all processes together, an end of everything after the time.

Contained (`tests/lab/sandbox/hostile.py` tries each):

- network: no connection out, none to this machine, no abstract socket;
- files: the system is read-only and only /usr, the libraries and the interpreter are seen; nobody's
  home, /etc/shadow, /root, the house's data or the host's temporary folder; writing only into a
  temporary space of bounded size that is gone afterwards;
- secrets: the environment, other processes' environment, memory, arguments and descriptors;
- processes: signals to others, ptrace, fork bombs, daemons that stay, ignored signals;
- the kernel's less trodden paths: user namespaces, mounts, io_uring, bpf, keyrings, perf,
  userfault, module loading;
- memory, processes, disk, output and time, each to a bound.

Not contained:

- a hole in the kernel itself: this is no virtual machine;
- timing and load: a program may use its share of the processor until its time is over;
- reading what /usr holds, the kernel's version, the number of cores, the clock;
- bubblewrap: empty files; tmpfs bounds bytes and not inodes (the watch on memory does not see
  them);
- landlock: that a path exists or not (`stat` is not refused); which processes run is not seen, but
  process numbers are the host's; disk is watched every 50 ms and so may be exceeded for a moment;
  SIGKILL of our supervisor may leave a daemon behind;
- between two looks of the watch (50 ms), shared memory beyond the limit of one process.

`--unprotected` (protection "none") only limits resources and time: the code has this user's rights.
"""

from codehearth.lab.sandbox.program import Limits, Outcome, Program, Protection
from codehearth.lab.sandbox.protection import Protections, protections, require_protection
from codehearth.lab.sandbox.running import run

__all__ = [
    "Limits",
    "Outcome",
    "Program",
    "Protection",
    "Protections",
    "protections",
    "require_protection",
    "run",
]
