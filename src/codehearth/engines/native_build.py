"""llama.cpp built for this very CPU: programs in the `bin`, libraries in the `lib` of an engine's
environment.

The sources are those that the source package of `llama-cpp-python` carries, so that they come from
where pip's configuration says and no address is needed. cmake and ninja are taken from PATH, else
from pip; the compiler must be there.

1. A missing compiler is told before anything is made.
2. `pip download` of the source package; only `vendor/llama.cpp` is unpacked.
3. cmake, with shared libraries, which the programs find from where they are. Nothing is fetched
   meanwhile (no page of its own, no TLS).
4. Programs and libraries are moved, and sources and objects thrown away.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from codehearth.engines.packages import pip
from codehearth.engines.recipes import Sources
from codehearth.engines.steps import Progress, run
from codehearth.errors import BadWeights, EngineMissing
from codehearth.models.hardware import snapshot

_COMPILERS = ("c++", "g++", "clang++")
_STEP = re.compile(r"\[(\d+)/(\d+)\]")
_TOLD_PER_CENT = 10
_COMPILER_BYTES = 1 << 30  # a guess on the safe side: 320 MB were seen (GCC 12)


def missing_tools(sources: Sources, environment: Mapping[str, str]) -> EngineMissing | None:
    """The error that says what must be installed first; None where all is there."""
    path = environment.get("PATH", "")
    compiler = environment.get("CXX")
    wanted = (compiler,) if compiler else _COMPILERS
    missing = [] if any(shutil.which(one, path=path) for one in wanted) else ["a C++ compiler"]
    missing += [one for one in sources.compilers if shutil.which(one, path=path) is None]
    if not missing:
        return None
    hint = "on Debian and Ubuntu: `apt install g++ cmake`; on Fedora: `dnf install gcc-c++ cmake`"
    if sys.platform == "darwin":
        hint = "on a Mac: `xcode-select --install` and `brew install cmake`"
    if sources.compilers == tuple(missing):
        hint = "NVIDIA's CUDA toolkit has it; `--cpu` builds without"
    return EngineMissing(
        f"llama.cpp cannot be built here: {' and '.join(missing)} is missing.",
        hint=hint,
        retry_after_s=None,
    )


def build(
    sources: Sources, pins: Path, folder: Path, environment: Mapping[str, str], progress: Progress
) -> None:
    """The programs of `sources` into `folder`/bin, their libraries into lib. Minutes of all cores.

    Raises EngineFailed.

    `pins` is a requirements file that names the one source package.
    """
    python = folder / "bin" / "python"
    workshop = folder / "build"
    workshop.mkdir()
    ours = dict(environment) | {"PATH": f"{folder / 'bin'}{os.pathsep}{environment.get('PATH')}"}
    _fetch_builders(python, ours, progress)
    package = pins.read_text().split()[-1]
    progress(f"fetching the sources ({package})")
    only = ["--no-binary", package.partition("==")[0], "--no-deps", "--dest", str(workshop)]
    pip(python, "download", [*only, package], ours, progress)
    (archive,) = workshop.glob("*.tar.gz")
    _unpack(archive, sources.folder, workshop / "sources")
    _compile(sources, workshop, ours, progress)
    made = workshop / "objects" / "bin"
    for program in sources.programs:
        shutil.move(made / program, folder / "bin" / program)
    for library in (*made.glob("lib*.so*"), *made.glob("lib*.dylib")):
        shutil.move(library, folder / "lib" / library.name)
    shutil.rmtree(workshop)


def _fetch_builders(python: Path, environment: Mapping[str, str], progress: Progress) -> None:
    absent = [one for one in ("cmake", "ninja") if not shutil.which(one, path=environment["PATH"])]
    if absent:
        pip(python, "install", absent, environment, progress)


def _compile(
    sources: Sources, workshop: Path, environment: Mapping[str, str], progress: Progress
) -> None:
    objects = str(workshop / "objects")
    configure = ["cmake", "-S", str(workshop / "sources"), "-B", objects, "-G", "Ninja"]
    run([*configure, *sources.options], environment, "prepare the build", hint_of=_hint_of)
    machine = snapshot()
    jobs = jobs_for(machine.num_cores, machine.free_bytes)
    make = ["cmake", "--build", objects, "--parallel", str(jobs)]
    progress(f"compiling {len(sources.programs)} programs for this CPU")
    argv = [*make, "--target", *sources.programs]
    run(argv, environment, "compile", progress, step_of=Compiled(), hint_of=_hint_of)


def jobs_for(num_cores: float, free_bytes: int) -> int:
    """How many compilers at a time: one a core, as long as there is memory for each."""
    return max(1, min(int(num_cores), free_bytes // _COMPILER_BYTES))


class Compiled:
    """Ninja's counts as steps, one for each tenth."""

    def __init__(self) -> None:
        self._told = 0

    def __call__(self, line: str) -> str | None:
        count = _STEP.match(line)
        if count is None:
            return None
        done, total = int(count[1]), int(count[2])
        per_cent = done * 100 // max(1, total) // _TOLD_PER_CENT * _TOLD_PER_CENT
        if per_cent <= self._told:
            return None
        self._told = per_cent
        return f"compiled {per_cent} % ({done} of {total})"


def _unpack(archive: Path, wanted: str, target: Path) -> None:
    """The folder `wanted` of the package, without the package's own first folder."""
    prefix = PurePosixPath(wanted).parts
    with tarfile.open(archive) as package:
        members = []
        for member in package:
            parts = PurePosixPath(member.name).parts
            if parts[1 : 1 + len(prefix)] == prefix and len(parts) > 1 + len(prefix):
                members.append(
                    member.replace(name=str(PurePosixPath(*parts[1 + len(prefix) :])), deep=False)
                )
        if not members:
            raise BadWeights(f"{archive.name} holds no {wanted}.")
        package.extractall(target, members, filter="data")


def _hint_of(said: Sequence[str]) -> str:
    text = "\n".join(said)
    if "No space left" in text:
        return "free some space, or set `data` to a folder on another disk"
    if "Killed" in text:
        return "the compiler ran out of memory: stop models first, or close programs"
    if "CMake" in text and "or higher is required" in text:
        return "this cmake is too old: `pip install cmake` has a newer one"
    if "CUDA::" in text:
        return (
            "NVIDIA's CUDA toolkit is here only in part (cuBLAS and the driver's library are "
            "needed, too); `--cpu` builds without"
        )
    return "what the compiler said stands above; llama.cpp from the wheel goes on working"
