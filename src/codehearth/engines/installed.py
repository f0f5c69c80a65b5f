"""What is installed of an engine: its environment, as far as can be seen without starting it.

How one is made and removed is in `environments.py`; an engine's file needs to know only this.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codehearth.engines.base import Unavailable
from codehearth.engines.recipes import Recipe

RECORD = "environment.json"


@dataclass(frozen=True)
class Installed:
    """An environment that was checked when it was made. `facts` is what its engine said then."""

    engine: str
    device: str
    python: Path
    version: str
    digest: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def program(self, name: str) -> Path:
        """One of the environment's own programs."""
        return self.python.parent / name

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


def is_for_cuda(state: State) -> bool:
    """Whether the environment is there, and what it holds was built for NVIDIA's GPUs."""
    return isinstance(state, Installed) and state.device == "cuda"


def unavailable(engine: str, state: NotInstalled | Broken) -> Unavailable:
    """Why an engine without a whole environment does not run, and the command that changes it."""
    install = f"`hearth engines install {engine}`"
    if isinstance(state, Broken):
        return Unavailable(f"its environment is broken: {state.reason}", f"{install} makes it anew")
    return Unavailable("it is not installed", install)


def state_in(home: Path) -> State:
    """What the folder of one engine holds."""
    try:
        record = json.loads((home / RECORD).read_bytes())
        folder = home / str(record["folder"])
        found = Installed(
            engine=home.name,
            device=str(record["device"]),
            python=folder / "bin" / "python",
            version=str(record["version"]),
            digest=str(record["digest"]),
            facts=dict(record["facts"]),
        )
    except FileNotFoundError:
        is_half_made = home.is_dir() and any(folders_in(home))
        return Broken("it was not made to its end") if is_half_made else NotInstalled()
    except (OSError, ValueError, KeyError, TypeError):
        return Broken("its record cannot be read")
    return _fault(found, folder) or found


def _fault(found: Installed, folder: Path) -> Broken | None:
    """Why an environment that has a record is not one any more."""
    if not folder.is_dir():
        return Broken("its files are gone")
    if not os.access(found.python, os.X_OK):  # a link to a Python that was removed or updated
        return Broken("the Python that it was made with is gone")
    if not any((folder / "lib").glob("python*/site-packages")):
        return Broken("its packages are gone")
    for name in found.facts.get("programs") or ():
        if not os.access(found.program(str(name)), os.X_OK):
            return Broken(f"its program {name} is gone")
    return None


def folders_in(home: Path) -> Iterator[Path]:
    """The environments, whole or not, that lie in an engine's folder."""
    if home.is_dir():
        yield from (entry for entry in home.iterdir() if entry.is_dir())
