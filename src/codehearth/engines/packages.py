"""A virtual environment and the packages in it: Python's venv, then pip.

Which registry is asked is the user's own configuration of pip. Where the CPU build of PyTorch is
wanted on Linux it is the one that pip's configuration knows, else the one that uv knows by itself,
else the CUDA build, which works on a CPU too and takes some gigabytes more.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from codehearth.engines.recipes import Recipe
from codehearth.engines.steps import Progress, run
from codehearth.errors import EngineFailed

_CUDA_EXTRA_BYTES = 6 << 30  # a guess: what the CUDA build of PyTorch takes more
_OPTIONS = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")

Require = Callable[[int], None]


def make_virtual_environment(
    folder: Path, environment: Mapping[str, str], progress: Progress
) -> Path:
    """A new environment in `folder`; its Python. Raises EngineFailed."""
    progress(f"making a virtual environment with Python {sys.version.split()[0]}")
    argv = [sys.executable, "-m", "venv", str(folder)]
    run(argv, environment, "make a virtual environment", hint_of=hint_of)
    return folder / "bin" / "python"


def install_packages(
    recipe: Recipe,
    python: Path,
    environment: Mapping[str, str],
    progress: Progress,
    *,
    require: Require,
) -> None:
    """What the recipe names. Raises EngineFailed, and what `require` does where the disk is full.

    `require` is told how many bytes are needed once it is known that they are more.
    """
    if recipe.torch is not None and sys.platform == "linux":
        _install_cpu_torch(recipe, python, environment, progress, require)
    words = [*(() if recipe.resolves else ("--no-deps",)), "-r", str(recipe.pins)]
    pip(python, "install", words, environment, progress)
    for addon in recipe.addons:
        progress(f"adding {addon.name}")
        words = ["--no-deps", "--no-build-isolation", "-r", str(addon.pins)]
        pip(python, "install", words, environment, progress)


def pip(
    python: Path,
    verb: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    progress: Progress,
) -> None:
    """`pip VERB WORDS` in the environment of `python`. Raises EngineFailed."""
    purpose = "fetch its sources" if verb == "download" else "install its packages"
    argv = [str(python), "-m", "pip", verb, *_OPTIONS, *words]
    run(argv, environment, purpose, progress, step_of=step_of, hint_of=hint_of)


def _install_cpu_torch(
    recipe: Recipe,
    python: Path,
    environment: Mapping[str, str],
    progress: Progress,
    require: Require,
) -> None:
    """PyTorch without CUDA; see the module."""
    release = f"torch=={recipe.torch}"
    with contextlib.suppress(EngineFailed):
        pip(python, "install", ["--no-deps", f"{release}+cpu"], environment, progress)
        return
    progress("pip knows no CPU build of PyTorch; uv does")
    with contextlib.suppress(EngineFailed):
        pip(python, "install", ["uv"], environment, progress)
        asked = ["--python", str(python), "--no-deps", "--torch-backend", "cpu", release]
        argv = [str(python), "-m", "uv", "pip", "install", *asked]
        run(argv, environment, "install PyTorch", progress, step_of=step_of)
        return
    progress("PyTorch's CPU build cannot be had; its CUDA build works too, and is larger")
    require(recipe.num_bytes + _CUDA_EXTRA_BYTES)
    if not recipe.resolves:  # nobody else would install it
        pip(python, "install", [release], environment, progress)


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


def hint_of(said: Sequence[str]) -> str:
    """What helps, from what pip said."""
    text = "\n".join(said)
    if "ensurepip" in text:
        return "on Debian and Ubuntu: `apt install python3-venv`"
    if "No space left" in text:
        return "free some space, or set TMPDIR to another disk"
    if "No matching distribution" in text or "Could not find a version" in text:
        return "pip's registry lacks this package: `pip config list` shows which registry it asks"
    return "what pip said stands above; a proxy or a mirror is set with `pip config`"
