"""The programs that run code here, and the folders they need to see."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from functools import cache
from pathlib import Path

from codehearth.lab.sandbox.program import Protection

# What every program may read: the system's programs and libraries, and how to find them.
SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32")
SYSTEM_FILES = (
    "/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/localtime", "/etc/ssl/openssl.cnf",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def python_for(protection: Protection) -> Path | None:
    """The interpreter that can be started under a protection, None where there is none."""
    if protection == "landlock" and os.geteuid() == 0:
        return open_python()
    return base_python()


def base_python() -> Path:
    """The interpreter behind this environment: what the environment holds is not for strangers."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = Path(sys.base_prefix) / "bin" / name
    return own.resolve() if own.exists() else Path(sys.executable).resolve()


@cache
def open_python() -> Path | None:
    """An interpreter that a user without any right to this user's home can start."""
    for path in (base_python(), Path("/usr/bin/python3"), Path("/usr/local/bin/python3")):
        if path.exists() and _is_open(path.resolve()):
            return path.resolve()
    return None


@cache
def program_path(name: str) -> Path | None:
    """Where a program is, None where it is in no system folder."""
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
    return Path(found) if found else None


def python_prefix(python: Path) -> str | None:
    """The folder of an interpreter that lies outside of the system's, None for the system's own."""
    prefix = python.parent.parent
    is_system = any(prefix.is_relative_to(folder) for folder in SYSTEM_FOLDERS)
    return None if is_system else os.fspath(prefix)


def _is_open(path: Path) -> bool:
    """Whether others may pass every folder on the way, and read and start the file."""
    wanted = stat.S_IROTH | stat.S_IXOTH
    if path.stat().st_mode & wanted != wanted:
        return False
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
