"""The files of a folder that people wrote: those that git does not ignore, else all not hidden.

Left out are folders of other people's code and of builds, links, secrets, and what is no text.
"""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from codehearth.text.languages import language_of_file

MAX_FILES = 20_000
_GIT_S = 60.0
_HARMLESS = ("-c", "core.fsmonitor=false")  # a folder's own configuration may name a program
_SKIPPED = frozenset(
    {"node_modules", "vendor", "third_party", "build", "dist", "target", "__pycache__", "venv"}
)
_SECRET_NAMES = (
    "*.pem", "*.key", "*.p12", "*.pfx", "*.keystore", "*.jks", "*.kdbx", "*.env", "id_rsa*",
    "id_ed25519*", "credentials*.json", "secrets.*ml", "secrets.json",
)  # fmt: skip
_SECRET = re.compile("|".join(map(fnmatch.translate, _SECRET_NAMES)), re.IGNORECASE)


def files_of(root: Path) -> list[str]:
    """Paths below the root with forward slashes, sorted; of languages that are known here."""
    known = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = known.split("\0") if known else _walked(root)  # git knows nothing of an ignored folder
    return sorted({name for name in names if _is_wanted(name)})[:MAX_FILES]


def read_text(root: Path, name: str, *, max_bytes: int) -> str | None:
    """A file's text; None for a link, one that is too large, not there or not UTF-8."""
    path = root / name
    try:
        if path.is_symlink() or not path.resolve().is_relative_to(root.resolve()):
            return None
        if path.stat().st_size > max_bytes:
            return None
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return None if "\0" in text else text


def git(root: Path, *words: str) -> str | None:
    """What git says; None where it is not there or this is none of its folders."""
    try:
        done = subprocess.run(
            ["git", *_HARMLESS, "-c", "core.quotepath=off", "-C", str(root), *words],
            capture_output=True,
            timeout=_GIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _walked(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not _is_left_out(name)]
        for name in files:
            yield (Path(folder) / name).relative_to(root).as_posix()


def _is_wanted(name: str) -> bool:
    parts = name.split("/")
    if any(map(_is_left_out, parts)) or language_of_file(name) is None:
        return False
    return _SECRET.match(parts[-1]) is None


def _is_left_out(part: str) -> bool:
    return part.startswith(".") or part in _SKIPPED
