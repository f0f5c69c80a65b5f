"""What the environment of each engine is made of: its pins, its size, and how to try it.

A recipe is a fact: it does nothing. The pins lie beside, one file for each engine and device;
`make lock` writes them. They name no registry: pip's own configuration says where packages are.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from codehearth.engines.worker import START, WORKERS

Device = Literal["cpu", "cuda"]

_PINS = Path(__file__).parent / "requirements"
_GIB = 1 << 30


@dataclass(frozen=True)
class Sources:
    """What is built instead of installed. `folder` is the sources' place in the source package.

    `options` are cmake's; `compilers` are further programs that must be on PATH.
    """

    folder: str
    programs: tuple[str, ...]
    options: tuple[str, ...]
    compilers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Addon:
    """What may be installed beside an engine's packages: its own pins and nothing they ask for,
    built with what is in the environment already."""

    name: str
    pins: Path
    num_bytes: int


@dataclass(frozen=True)
class Recipe:
    """How to make an engine's environment for one kind of machine.

    `check` are the arguments of the new Python that start the engine once; the last JSON object
    that they print on a line has `version`, the engine's, and whatever else is worth knowing.
    `num_bytes` is what the environment takes on disk. `torch` is the release whose CPU build is
    wanted, None where the pins alone decide. Where `resolves` is false the pins are all that is
    installed, whatever else they say they need. With `sources`, the pins name one source package,
    from which programs are built instead.
    """

    engine: str
    device: Device
    pins: Path
    check: tuple[str, ...]
    num_bytes: int
    torch: str | None = None
    resolves: bool = True
    sources: Sources | None = None
    addons: tuple[Addon, ...] = ()

    @property
    def digest(self) -> str:
        """Changes when the pins do, or how they are built."""
        how = repr(self.sources).encode() if self.sources else b""
        more = b"".join(addon.pins.read_bytes() for addon in self.addons)
        return hashlib.sha256(self.pins.read_bytes() + how + more).hexdigest()

    def with_addon(self, name: str) -> Recipe:
        """The same with one of the engine's add-ons. Raises KeyError."""
        addon = ADDONS[self.engine][name]
        size = self.num_bytes + addon.num_bytes
        return replace(self, addons=(*self.addons, addon), num_bytes=size)


# Where a program finds its libraries, wherever its environment lies.
_LIB = "@loader_path/../lib" if sys.platform == "darwin" else "$ORIGIN/../lib"
_PROGRAMS = ("llama-server", "llama-quantize", "llama-perplexity", "llama-imatrix", "llama-bench")
_LLAMA_CPP = Sources(
    folder="vendor/llama.cpp",
    programs=_PROGRAMS,
    options=(
        "-DCMAKE_BUILD_TYPE=Release",
        "-DBUILD_SHARED_LIBS=ON",  # the lab calls the same library that serves
        "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
        f"-DCMAKE_INSTALL_RPATH={_LIB}",
        "-DCMAKE_INSTALL_RPATH_USE_LINK_PATH=ON",  # CUDA's own libraries stay where they are
        "-DGGML_NATIVE=ON",
        "-DGGML_CCACHE=OFF",
        "-DLLAMA_OPENSSL=OFF",  # it listens on a Unix socket and fetches nothing
        "-DLLAMA_BUILD_UI=OFF",
        "-DLLAMA_USE_PREBUILT_UI=OFF",
        "-DLLAMA_BUILD_TESTS=OFF",
        "-DLLAMA_BUILD_EXAMPLES=OFF",
        "-DLLAMA_BUILD_APP=OFF",
        "-DLLAMA_BUILD_NUMBER=0",  # else asked of whatever git repository is around
        "-DLLAMA_BUILD_COMMIT=native",
    ),
)


_LLAMA_CPP_CUDA = replace(
    _LLAMA_CPP, options=(*_LLAMA_CPP.options, "-DGGML_CUDA=ON"), compilers=("nvcc",)
)

# What each engine's Python is given to start it once.
_CHECKS: Mapping[str, tuple[str, ...]] = {
    "transformers": (str(START), "transformers", "--check"),
    "tuning": (str(START), "tuning", "--check"),
    "fastllm": (str(START), "fastllm", "--check"),
    "vllm": (str(WORKERS / "vllm_check.py"),),
    "lmdeploy": (str(WORKERS / "lmdeploy_check.py"),),
    "llamacpp-native": (str(WORKERS / "native_check.py"), *_PROGRAMS),
}


def _recipe(
    engine: str,
    device: Device,
    gib: float,
    *,
    torch: str | None = None,
    resolves: bool = True,
    sources: Sources | None = None,
) -> Recipe:
    """A recipe whose pins lie where the names say; sources are the same for every device."""
    return Recipe(
        engine=engine,
        device=device,
        pins=_PINS / (f"{engine}.txt" if sources else f"{engine}-{device}.txt"),
        check=("-P", *_CHECKS[engine]),
        num_bytes=int(gib * _GIB),
        torch=torch,
        resolves=resolves,
        sources=sources,
    )


_TORCH = "2.13.0"

# The CPU's size was measured on Linux; CUDA's is the sum of what its packages say, and a guess.
RECIPES: Mapping[str, Mapping[Device, Recipe]] = {
    "transformers": {
        "cpu": _recipe("transformers", "cpu", 1.5, torch=_TORCH),
        "cuda": _recipe("transformers", "cuda", 8),
    },
    # No engine: what `hearth tune` trains with.
    "tuning": {
        "cpu": _recipe("tuning", "cpu", 1.9, torch=_TORCH),
        "cuda": _recipe("tuning", "cuda", 8.5),
    },
    "llamacpp-native": {
        "cpu": _recipe("llamacpp-native", "cpu", 1, sources=_LLAMA_CPP),
        "cuda": _recipe("llamacpp-native", "cuda", 3, sources=_LLAMA_CPP_CUDA),
    },
    "vllm": {
        "cpu": _recipe("vllm", "cpu", 3, torch=_TORCH, resolves=False),
        "cuda": _recipe("vllm", "cuda", 12),
    },
    "lmdeploy": {"cuda": _recipe("lmdeploy", "cuda", 12)},
    "fastllm": {
        "cpu": _recipe("fastllm", "cpu", 1, resolves=False),
        "cuda": _recipe("fastllm", "cuda", 3, resolves=False),
    },
}

# What GPTQModel and its company take was measured on Linux.
ADDONS: Mapping[str, Mapping[str, Addon]] = {
    "transformers": {
        "gptq": Addon("gptq", _PINS / "transformers-gptq.txt", 600 << 20),
    },
}


def recipes_of(engine: str) -> tuple[Recipe, ...]:
    """Every recipe of an engine, with and without add-ons."""
    plain = tuple(RECIPES[engine].values())
    names = ADDONS.get(engine, {})
    return (*plain, *(recipe.with_addon(name) for recipe in plain for name in names))
