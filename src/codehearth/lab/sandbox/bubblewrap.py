"""The command line of bubblewrap; pure.

Everything is read-only but two small file systems in memory. Names of this machine's folders go
through a descriptor and not through the arguments, which the program could read in /proc.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

INSIDE_FILES = "/files"
INSIDE_FOLDER = "/tmp"  # noqa: S108 - the sandbox's own
INSIDE_ENTER = "/enter.py"
_SHARED_MEMORY_BYTES = 16 << 20


def arguments(
    *,
    files: str,
    enter: str,
    prefix: str | None,
    system: Mapping[str, str | None],
    disk_bytes: int,
    is_root: bool,
) -> list[str]:
    """What bubblewrap reads before the program.

    `system` maps a system folder to the target of its link, or to None where it is a folder.
    As root it makes no user namespace: `enter.py` takes a real user of its own, because the number
    of processes is counted for real users, and root's is not counted at all.
    """
    return [
        "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
        "--unshare-cgroup-try",
        *(() if is_root else ("--unshare-user",)),
        "--die-with-parent", "--new-session", "--hostname", "sandbox",
        *(("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
          if is_root else ("--cap-drop", "ALL")),
        *_system(system),
        "--proc", "/proc",
        "--dev", "/dev",
        "--perms", "1777", "--size", str(_SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm",  # noqa: S108
        "--remount-ro", "/dev",
        "--perms", "1777", "--size", str(disk_bytes), "--tmpfs", INSIDE_FOLDER,
        # After the temporary folder, which it may lie in.
        *((*_open_parents(prefix), "--ro-bind", prefix, prefix) if prefix else ()),
        "--ro-bind", files, INSIDE_FILES,
        "--ro-bind", enter, INSIDE_ENTER,
        "--remount-ro", "/",
        "--chdir", INSIDE_FOLDER,
    ]  # fmt: skip


def _system(system: Mapping[str, str | None]) -> Iterable[str]:
    for folder, target in system.items():
        yield from _open_parents(folder)
        yield from ("--symlink", target, folder) if target else ("--ro-bind", folder, folder)


def _open_parents(path: str) -> Iterable[str]:
    """The folders above: open and empty, though they may be somebody's closed home outside."""
    for folder in reversed(PurePosixPath(path).parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(folder))
