"""An engine's own virtual environment below the data folder: made, checked, removed.

Each environment lies in a folder of its own, `engines/NAME/TOKEN`, and a small record,
`engines/NAME/environment.json`, says which one is used. The record is replaced in one step after
the engine in the new folder has started once; so an environment is whole or it is not there, and a
process that was killed leaves nothing but a folder that no record names, which the next command
removes. (A folder that is renamed when it is whole would do the same, but the programs in a virtual
environment name its path.)

1. Room on the disk is looked at first.
2. `python -m venv`, with this Python.
3. Its packages (`packages.py`), or programs that are built from sources (`native_build.py`).
4. The engine is started once, and the record is written.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from codehearth.engines.first_start import check
from codehearth.engines.installed import RECORD, Installed, State, folders_in, state_in
from codehearth.engines.native_build import build, missing_tools
from codehearth.engines.packages import install_packages, make_virtual_environment
from codehearth.engines.recipes import Recipe
from codehearth.engines.steps import Progress
from codehearth.errors import BadSetting, DiskFull, EngineFailed
from codehearth.models.whole_file import write_whole
from codehearth.models.words import in_bytes

_LOCK = ".lock"
_RESERVE_BYTES = 1 << 30  # pip keeps an archive beside what it unpacks

FreeBytes = Callable[[Path], int]


class Environments:
    """The environments below one folder. Synchronous; making one takes minutes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def state(self, engine: str) -> State:
        """What is there, as far as can be seen without starting it."""
        return state_in(self._root / engine)

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
        DiskFull, BadSetting where another command is at it, EngineMissing where a compiler is
        needed first, and EngineFailed with the last lines.
        """
        home = self._root / recipe.engine
        self._root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the data folder
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
            if recipe.sources and (missing := missing_tools(recipe.sources, environment)):
                raise missing
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
            (home / RECORD).unlink(missing_ok=True)
            for folder in folders_in(home):
                shutil.rmtree(folder)
        shutil.rmtree(home, ignore_errors=True)
        return freed

    def _sweep(self, engine: str) -> None:
        """Remove every folder that the record does not name."""
        state = self.state(engine)
        kept = state.python.parent.parent if isinstance(state, Installed) else None
        for folder in folders_in(self._root / engine):
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)


def _made(
    recipe: Recipe,
    folder: Path,
    progress: Progress,
    environment: Mapping[str, str],
    free_bytes: Callable[[], int],
) -> Installed:
    ours = {name: value for name, value in environment.items() if not name.startswith("PYTHON")}
    python = make_virtual_environment(folder, ours, progress)
    if recipe.sources is not None:
        build(recipe.sources, recipe.pins, folder, ours, progress)
    else:
        install_packages(
            recipe,
            python,
            ours,
            progress,
            require=lambda needed: _require(needed, free_bytes(), recipe.engine),
        )
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
    write_whole(home / RECORD, json.dumps(record, indent=2))


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


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _size_of(folder: Path) -> int:
    total = 0
    for entry in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += 0 if entry.is_symlink() else entry.lstat().st_size
    return total
