"""An engine's own virtual environment below the data folder: made, checked, removed.

Each environment lies in a folder of its own, `engines/NAME/TOKEN`, and a small record,
`engines/NAME/environment.json`, says which one is used. The record is replaced in one step after
the engine in the new folder has started once; so an environment is whole or it is not there, and a
process that was killed leaves nothing but a folder that no record names, which the next command
removes. (A folder that is renamed when it is whole would do the same, but the programs in a virtual
environment name its path.)

1. Room on the disk is looked at first.
2. `python -m venv`, with this Python.
3. Where the CPU build of PyTorch is wanted on Linux: the one that pip's configuration knows, else
   the one that uv knows by itself, else the CUDA build, which works on a CPU too and takes some
   gigabytes more.
4. `pip install` of the pins. Which registry is asked is the user's own configuration of pip.
5. The engine is started once, and the record is written.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codehearth.engines.recipes import Recipe
from codehearth.engines.threads import child_environment
from codehearth.errors import BadSetting, DiskFull, EngineFailed
from codehearth.models.whole_file import write_whole
from codehearth.models.words import in_bytes

_RECORD = "environment.json"
_LOCK = ".lock"
_CHECK_S = 300.0  # the first import of torch on a slow disk takes a minute
_RESERVE_BYTES = 1 << 30  # pip keeps an archive beside what it unpacks
_CUDA_EXTRA_BYTES = 6 << 30  # a guess: what the CUDA build of PyTorch takes more
_MAX_TAIL_LINES = 15

# Steps are told as they begin.
Progress = Callable[[str], None]
FreeBytes = Callable[[Path], int]


@dataclass(frozen=True)
class Installed:
    """An environment that was checked when it was made. `facts` is what its engine said then."""

    engine: str
    device: str
    python: Path
    version: str
    digest: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def is_of(self, recipe: Recipe) -> bool:
        """Whether its pins are those of today's recipe."""
        return self.device == recipe.device and self.digest == recipe.digest


@dataclass(frozen=True)
class NotInstalled:
    """There is nothing, and that is no fault."""


@dataclass(frozen=True)
class Broken:
    """There is something, and it cannot be used; `reason` is the end of a sentence."""

    reason: str


State = Installed | NotInstalled | Broken


class Environments:
    """The environments below one folder. Synchronous; making one takes minutes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def state(self, engine: str) -> State:
        """What is there, as far as can be seen without starting it."""
        home = self._root / engine
        try:
            record = json.loads((home / _RECORD).read_bytes())
            folder = home / str(record["folder"])
            found = Installed(
                engine=engine,
                device=str(record["device"]),
                python=folder / "bin" / "python",
                version=str(record["version"]),
                digest=str(record["digest"]),
                facts=dict(record["facts"]),
            )
        except FileNotFoundError:
            is_half_made = home.is_dir() and any(_folders(home))
            return Broken("it was not made to its end") if is_half_made else NotInstalled()
        except (OSError, ValueError, KeyError, TypeError):
            return Broken("its record cannot be read")
        return _fault(found, folder) or found

    def install(
        self,
        recipe: Recipe,
        *,
        progress: Progress,
        environment: Mapping[str, str],
        free_bytes: FreeBytes | None = None,
    ) -> Installed:
        """Make the environment of `recipe`, and let it take the place of what was there.

        One that is of this recipe already stays if its engine starts.
        `environment` is the user's own: pip and uv read their configuration from it. Raises
        DiskFull, BadSetting where another command is at it, and EngineFailed with the last lines.
        """
        home = self._root / recipe.engine
        home.mkdir(parents=True, exist_ok=True)
        room = free_bytes or _free_bytes
        with _alone(home):
            self._sweep(recipe.engine)
            state = self.state(recipe.engine)
            if isinstance(state, Installed) and state.is_of(recipe):
                progress("it is here; starting it once")
                with contextlib.suppress(EngineFailed):
                    check(recipe, state.python)
                    return state
                progress("it does not start, so it is made anew")
            _require(recipe.num_bytes, room(home), recipe.engine)
            folder = home / secrets.token_hex(4)
            try:
                made = _made(recipe, folder, progress, environment, lambda: room(home))
                _write_record(home, folder, made)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            self._sweep(recipe.engine)
        return made

    def remove(self, engine: str) -> int:
        """Remove all of an engine's environments; the bytes that this freed."""
        home = self._root / engine
        if not home.is_dir():
            return 0
        with _alone(home):
            freed = _size_of(home)
            (home / _RECORD).unlink(missing_ok=True)
            for folder in _folders(home):
                shutil.rmtree(folder)
        shutil.rmtree(home, ignore_errors=True)
        return freed

    def _sweep(self, engine: str) -> None:
        """Remove every folder that the record does not name."""
        state = self.state(engine)
        kept = state.python.parent.parent if isinstance(state, Installed) else None
        for folder in _folders(self._root / engine):
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)


def _fault(found: Installed, folder: Path) -> Broken | None:
    """Why an environment that has a record is not one any more."""
    if not folder.is_dir():
        return Broken("its files are gone")
    if not os.access(found.python, os.X_OK):  # a link to a Python that was removed or updated
        return Broken("the Python that it was made with is gone")
    if not any((folder / "lib").glob("python*/site-packages")):
        return Broken("its packages are gone")
    return None


def _made(
    recipe: Recipe,
    folder: Path,
    progress: Progress,
    environment: Mapping[str, str],
    free_bytes: Callable[[], int],
) -> Installed:
    python = folder / "bin" / "python"
    ours = {name: value for name, value in environment.items() if not name.startswith("PYTHON")}
    progress(f"making a virtual environment with Python {sys.version.split()[0]}")
    _run([sys.executable, "-m", "venv", str(folder)], ours, "make a virtual environment")
    if recipe.torch is not None and sys.platform == "linux":
        _install_cpu_torch(recipe, python, ours, progress, free_bytes)
    _pip(python, ["-r", str(recipe.pins)], ours, progress)
    progress("starting it once")
    facts = check(recipe, python)
    return Installed(
        engine=recipe.engine,
        device=recipe.device,
        python=python,
        version=str(facts.get("version", "")),
        digest=recipe.digest,
        facts=facts,
    )


def check(recipe: Recipe, python: Path) -> Mapping[str, Any]:
    """What the engine says of itself when it starts; raises EngineFailed where it does not."""
    try:
        answer = subprocess.run(
            [str(python), *recipe.check],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=child_environment(os.environ),
            timeout=_CHECK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(recipe.engine, "does not start", str(error)) from error
    lines = answer.stdout.decode("utf-8", "replace").strip().splitlines()
    try:
        facts = json.loads(lines[-1]) if lines and answer.returncode == 0 else None
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        tail = (answer.stdout + answer.stderr).decode("utf-8", "replace")
        raise _failed(recipe.engine, "does not start", tail)
    return facts


def _install_cpu_torch(
    recipe: Recipe,
    python: Path,
    environment: Mapping[str, str],
    progress: Progress,
    free_bytes: Callable[[], int],
) -> None:
    """PyTorch without CUDA; see the third step above."""
    release = f"torch=={recipe.torch}"
    with contextlib.suppress(EngineFailed):
        _pip(python, ["--no-deps", f"{release}+cpu"], environment, progress)
        return
    progress("pip knows no CPU build of PyTorch; uv does")
    with contextlib.suppress(EngineFailed):
        _pip(python, ["uv"], environment, progress)
        asked = ["--python", str(python), "--no-deps", "--torch-backend", "cpu", release]
        words = [str(python), "-m", "uv", "pip", "install", *asked]
        _run(words, environment, "install PyTorch", progress)
        return
    progress("PyTorch's CPU build cannot be had; its CUDA build works too, and is larger")
    _require(recipe.num_bytes + _CUDA_EXTRA_BYTES, free_bytes(), recipe.engine)


def _pip(
    python: Path, words: Sequence[str], environment: Mapping[str, str], progress: Progress
) -> None:
    options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    argv = [str(python), "-m", "pip", "install", *options, *words]
    _run(argv, environment, "install its packages", progress)


def _run(
    argv: Sequence[str],
    environment: Mapping[str, str],
    purpose: str,
    progress: Progress | None = None,
) -> None:
    """Run a program to its end, telling what it does; raises EngineFailed with its last lines."""
    said: list[str] = []
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        text=True,
        errors="replace",
    ) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                said.append(line.rstrip())
                if progress is not None and (step := step_of(line)):
                    progress(step)
        except BaseException:  # Ctrl-C: it would go on without us
            child.terminate()
            raise
    if child.returncode != 0:
        raise EngineFailed(
            f"This command failed, which was to {purpose}: {' '.join(argv[1:4])} …",
            log_tail="\n".join(said[-_MAX_TAIL_LINES:]),
            hint=_hint_of(said),
            retry_after_s=None,
        )


def step_of(line: str) -> str | None:
    """What a line of pip or uv tells somebody who waits; None for most of them."""
    words = line.strip()
    if words.startswith("Downloading "):
        name = words.split()[1].rpartition("/")[2]
        return f"downloading {name.split('-')[0]} {words[words.find('(') :]}".rstrip()
    if words.startswith("Processing "):  # a file that pip's configuration points to
        name = words.split()[1].rpartition("/")[2]
        return f"reading {name.split('-')[0]}"
    if words.startswith("Installing collected packages"):
        return f"installing {words.count(',') + 1} packages"
    return None


def _hint_of(said: Sequence[str]) -> str:
    text = "\n".join(said)
    if "ensurepip" in text:
        return "on Debian and Ubuntu: `apt install python3-venv`"
    if "No space left" in text:
        return "free some space, or set TMPDIR to another disk"
    if "No matching distribution" in text or "Could not find a version" in text:
        return "pip's registry lacks this package: `pip config list` shows which registry it asks"
    return "what pip said stands above; a proxy or a mirror is set with `pip config`"


def _failed(engine: str, what: str, tail: str) -> EngineFailed:
    return EngineFailed(
        f"The engine {engine} was installed, and {what}.",
        log_tail="\n".join(tail.strip().splitlines()[-_MAX_TAIL_LINES:]),
        hint=f"`hearth engines install {engine}` tries again",
        retry_after_s=None,
    )


def _require(needed_bytes: int, free_bytes: int, engine: str) -> None:
    if needed_bytes + _RESERVE_BYTES > free_bytes:
        raise DiskFull(
            f"The environment of {engine} takes about {in_bytes(needed_bytes)}, and the disk has "
            f"{in_bytes(free_bytes)} free.",
            hint="free some space, or set `data` to a folder on another disk",
        )


def _write_record(home: Path, folder: Path, made: Installed) -> None:
    record = asdict(made) | {"folder": folder.name}
    del record["python"]
    write_whole(home / _RECORD, json.dumps(record, indent=2))


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One command at a time changes an engine's environments."""
    with (home / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadSetting(
                f"Another command is installing or removing {home.name} just now.",
                hint="wait for it",
            ) from error
        yield


def _folders(home: Path) -> Iterator[Path]:
    if home.is_dir():
        yield from (entry for entry in home.iterdir() if entry.is_dir())


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _size_of(folder: Path) -> int:
    total = 0
    for entry in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += 0 if entry.is_symlink() else entry.lstat().st_size
    return total
