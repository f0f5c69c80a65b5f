"""Programs that try to get out of the sandbox, or to wear the machine down.

Each prints "escaped" where it got what it wanted. {PORT}, {PID}, {SECRET_FILE}, {TARGET} and
{ABSTRACT} are put in: a listener of this machine, a process to be hurt, a file to be read, a file
to be made, an abstract socket.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hostile:
    """`control`: whether it does escape where nothing protects, so that the trial means something.
    `endings`: the limits of which one must stop it, where one must."""

    name: str
    code: str
    control: bool = False
    endings: tuple[str, ...] = ()


_LIBC = "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)\n"


def _call(number: str, arguments: str = "0, 0, 0, 0") -> str:
    """A system call by its number on x86_64; a number below zero is a refusal."""
    return _LIBC + f"if libc.syscall({number}, {arguments}) >= 0: print('escaped')"


PROGRAMS = (
    # The network.
    Hostile("connects to this machine", """
import socket
socket.create_connection(("127.0.0.1", {PORT}), 1); print("escaped")
""", control=True),
    Hostile("connects to the internet", """
import socket
socket.create_connection(("1.1.1.1", 53), 1); print("escaped")
"""),
    Hostile("sends a datagram to this machine", """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5)
s.sendto(b"x", ("127.0.0.1", {UDP})); s.recv(10); print("escaped")
""", control=True),
    Hostile("connects to an abstract socket", """
import socket
s = socket.socket(socket.AF_UNIX); s.connect("\\0{ABSTRACT}"); print("escaped")
""", control=True),
    Hostile("opens a raw socket", """
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0)); print("escaped")
"""),
    # Files.
    Hostile("reads a file of the host", 'print("escaped" if open("{SECRET_FILE}").read() else "")',
            control=True),
    Hostile("reads the shadow file", 'open("/etc/shadow").read(); print("escaped")'),
    Hostile("lists the host's temporary folder", """
import os
names = os.listdir(os.path.dirname("{SECRET_FILE}")); print("escaped" if names else "")
""", control=True),
    Hostile("lists root's home", """
import os
names = [n for n in os.listdir("/root") if n not in (".pyenv", ".local")]
print("escaped" if names else "")
"""),
    Hostile("writes a file on the host", """
open("{TARGET}", "w").write("x"); print("escaped")
""", control=True),
    Hostile("writes into the system", """
for path in ("/etc/x", "/usr/bin/x", "/usr/lib/x", "/x", "/dev/x", "/proc/sys/kernel/hostname"):
    try:
        open(path, "w").write("x"); print("escaped")
    except OSError as error:
        print(error)
"""),
    Hostile("links to a file of the host", """
import os
os.symlink("{SECRET_FILE}", "link"); print("escaped" if open("link").read() else "")
""", control=True),
    Hostile("changes its own harness", """
import os
for name in os.listdir(FILES):
    path = os.path.join(FILES, name)
    for change in (lambda: os.unlink(path), lambda: os.rename(path, path + "x"),
                   lambda: open(path, "a"), lambda: os.chmod(path, 0o777)):
        try:
            change(); print("escaped")
        except OSError:
            pass
"""),
    Hostile("makes a device node", """
import os, stat
os.mknod("disk", stat.S_IFBLK | 0o600, os.makedev(254, 0)); open("disk", "rb").read(1)
print("escaped")
"""),
    # Secrets of other processes.
    Hostile("reads every environment", """
import glob, os
for path in glob.glob("/proc/[0-9]*/environ"):
    try:
        if b"HEARTH_CANARY" in open(path, "rb").read(): print("escaped")
    except OSError:
        pass
print("escaped" if "HEARTH_CANARY" in os.environ else "")
""", control=True),
    Hostile("reads another process's memory", """
open("/proc/{PID}/maps").read(); open("/proc/{PID}/mem", "rb"); print("escaped")
""", control=True),
    Hostile("opens another process's descriptors", """
import os
os.listdir("/proc/{PID}/fd"); print("escaped")
""", control=True),
    Hostile("uses descriptors it was not given", """
import os
for fd in range(4, 300):
    try:
        os.fstat(fd); print("escaped")
    except OSError:
        pass
"""),
    # Other processes.
    Hostile("kills another process", """
import os, signal
os.kill({PID}, 0); os.kill({PID}, signal.SIGCONT); print("escaped")
""", control=True),
    Hostile("changes another process's limits", """
import resource
resource.prlimit({PID}, resource.RLIMIT_NOFILE, (8, 8)); print("escaped")
""", control=True),
    Hostile("takes another process's processor", """
import os
os.sched_setaffinity({PID}, {0}); print("escaped")
os.setpriority(os.PRIO_PROCESS, {PID}, 19); print("escaped")
""", control=True),
    Hostile("traces its parent", _LIBC + """
if libc.ptrace(16, os.getppid(), 0, 0) == 0: print("escaped")
"""),
    Hostile("reads its parent's memory by a system call", _call("310", "os.getppid(), 0, 0, 0")),
    # The kernel.
    Hostile("makes a user namespace", _LIBC + """
if libc.unshare(0x10000000) == 0: print("escaped")
"""),
    Hostile("clones into a user namespace", _LIBC + """
pid = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)
if pid == 0: os._exit(0)
if pid > 0: print("escaped")
"""),
    Hostile("mounts a file system", _LIBC + """
os.mkdir("m")
if libc.mount(b"none", b"m", b"tmpfs", 0, None) == 0: print("escaped")
"""),
    Hostile("sets up io_uring", _call("425", "8, ctypes.create_string_buffer(256)")),
    Hostile("opens a bpf map", _call("321", "0, ctypes.create_string_buffer(128), 72")),
    Hostile("uses the keyring", _call("250", "0, -3, 1")),
    Hostile("changes root", _LIBC + """
os.mkdir("r")
if libc.chroot(b"r") == 0: print("escaped")
"""),
    Hostile("gains privileges from a setuid program", """
import os, subprocess
done = subprocess.run(["/usr/bin/su", "-c", "id -u"], capture_output=True, text=True, input="")
print("escaped" if done.stdout.strip() == "0" else "")
"""),
    Hostile("becomes root", """
import os
before = os.getuid(); os.setresuid(0, 0, 0); print("escaped" if before else "was root")
"""),
    # Wearing the machine down.
    Hostile("fork bomb", """
import os, time
born = 0
for _ in range(20000):
    try:
        if os.fork() == 0:
            time.sleep(30); os._exit(0)
        born += 1
    except OSError:
        break
print("escaped" if born > 60 + EXTRA else "", born)
"""),
    Hostile("fork bomb that grows", "import os\nwhile True:\n    try: os.fork()\n    except: pass",
            endings=("time", "memory")),
    Hostile("takes memory", """
held = []
for _ in range(100): held.append(bytearray(16 << 20))
print("escaped")
"""),
    Hostile("takes shared memory", """
import mmap
held = []
for _ in range(100):
    m = mmap.mmap(-1, 16 << 20); m.write(b"x" * (16 << 20)); held.append(m)
print("escaped")
"""),
    Hostile("takes memory in many processes", """
import os, time
for _ in range(12):
    if os.fork() == 0:
        held = bytearray(30 << 20); held[::4096] = b"x" * len(held[::4096]); time.sleep(30)
time.sleep(60); print("escaped")
""", endings=("memory",)),
    Hostile("takes memory without a file", _call("319", "b'm', 0")),
    Hostile("fills the disk", """
for number in range(64):
    open(f"file{number}", "wb").write(b"x" * (8 << 20))
import time; time.sleep(1); print("escaped")
"""),
    Hostile("fills shared memory's folder", """
for number in range(16):
    open(f"/dev/shm/file{number}", "wb").write(b"x" * (8 << 20))
print("escaped")
"""),
    Hostile("writes without end", """
import sys
while True: sys.stdout.write("x" * 65536)
""", endings=("time",)),
    Hostile("spins", "while True: pass", endings=("time",)),
    Hostile("sleeps and ignores signals", """
import signal, time
for number in range(1, 32):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: time.sleep(60)
""", endings=("time",)),
    Hostile("closes all it has and stays", """
import os, time
for fd in range(20):
    try: os.close(fd)
    except OSError: pass
time.sleep(60)
""", endings=("time",)),
)  # fmt: skip

# Leaves a process behind that holds nothing and belongs to nobody; it tells its life in {TARGET}.
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in range(20):
            try: os.close(fd)
            except OSError: pass
        os.execv("/bin/sleep", ["{MARK}", "47"])
    os._exit(0)
os.wait()
"""
