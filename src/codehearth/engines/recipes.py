"""What the environment of each engine is made of: its pins, its size, and how to try it.

A recipe is a fact: it does nothing. The pins lie beside, one file for each engine and device;
`make lock` writes them. They name no registry: pip's own configuration says where packages are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "cuda"]

_HERE = Path(__file__).parent
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


def _transformers(device: Device, *, num_bytes: int) -> Recipe:
    return Recipe(
        engine="transformers",
        device=device,
        pins=_HERE / "requirements" / f"transformers-{device}.txt",
        check=("-P", str(_HERE.parent / "workers" / "transformers" / "__main__.py"), "--check"),
        num_bytes=num_bytes,
        torch="2.13.0" if device == "cpu" else None,
    )


def _tuning(device: Device, *, num_bytes: int) -> Recipe:
    return Recipe(
        engine="tuning",
        device=device,
        pins=_HERE / "requirements" / f"tuning-{device}.txt",
        check=("-P", str(_HERE.parent / "workers" / "tuning" / "__main__.py"), "--check"),
        num_bytes=num_bytes,
        torch="2.13.0" if device == "cpu" else None,
    )


_PROGRAMS = ("llama-server", "llama-quantize", "llama-perplexity", "llama-imatrix", "llama-bench")
_LLAMA_CPP = Sources(
    folder="vendor/llama.cpp",
    programs=_PROGRAMS,
    options=(
        "-DCMAKE_BUILD_TYPE=Release",
        "-DBUILD_SHARED_LIBS=OFF",
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


def _native(device: Device, sources: Sources, *, num_bytes: int) -> Recipe:
    return Recipe(
        engine="llamacpp-native",
        device=device,
        pins=_HERE / "requirements" / "llamacpp-native.txt",
        check=("-P", str(_HERE.parent / "workers" / "native_check.py"), *_PROGRAMS),
        num_bytes=num_bytes,
        sources=sources,
    )


def _vllm(device: Device, *, num_bytes: int) -> Recipe:
    return Recipe(
        engine="vllm",
        device=device,
        pins=_HERE / "requirements" / f"vllm-{device}.txt",
        check=("-P", str(_HERE.parent / "workers" / "vllm_check.py")),
        num_bytes=num_bytes,
        torch="2.13.0" if device == "cpu" else None,
        resolves=device != "cpu",
    )


def _lmdeploy(*, num_bytes: int) -> Recipe:
    return Recipe(
        engine="lmdeploy",
        device="cuda",
        pins=_HERE / "requirements" / "lmdeploy-cuda.txt",
        check=("-P", str(_HERE.parent / "workers" / "lmdeploy_check.py")),
        num_bytes=num_bytes,
    )


def _fastllm(device: Device, *, num_bytes: int) -> Recipe:
    return Recipe(
        engine="fastllm",
        device=device,
        pins=_HERE / "requirements" / f"fastllm-{device}.txt",
        check=("-P", str(_HERE.parent / "workers" / "fastllm" / "__main__.py"), "--check"),
        num_bytes=num_bytes,
        resolves=False,
    )


_LLAMA_CPP_CUDA = replace(
    _LLAMA_CPP, options=(*_LLAMA_CPP.options, "-DGGML_CUDA=ON"), compilers=("nvcc",)
)

# The CPU's size was measured on Linux; CUDA's is the sum of what its packages say, and a guess.
RECIPES: Mapping[str, Mapping[Device, Recipe]] = {
    "transformers": {
        "cpu": _transformers("cpu", num_bytes=int(1.5 * _GIB)),
        "cuda": _transformers("cuda", num_bytes=8 * _GIB),
    },
    # No engine: what `hearth tune` trains with.
    "tuning": {
        "cpu": _tuning("cpu", num_bytes=int(1.9 * _GIB)),
        "cuda": _tuning("cuda", num_bytes=int(8.5 * _GIB)),
    },
    "llamacpp-native": {
        "cpu": _native("cpu", _LLAMA_CPP, num_bytes=_GIB),
        "cuda": _native("cuda", _LLAMA_CPP_CUDA, num_bytes=3 * _GIB),
    },
    "vllm": {
        "cpu": _vllm("cpu", num_bytes=3 * _GIB),
        "cuda": _vllm("cuda", num_bytes=12 * _GIB),
    },
    "lmdeploy": {"cuda": _lmdeploy(num_bytes=12 * _GIB)},
    "fastllm": {
        "cpu": _fastllm("cpu", num_bytes=_GIB),
        "cuda": _fastllm("cuda", num_bytes=3 * _GIB),
    },
}

# What GPTQModel and its company take was measured on Linux.
ADDONS: Mapping[str, Mapping[str, Addon]] = {
    "transformers": {
        "gptq": Addon("gptq", _HERE / "requirements" / "transformers-gptq.txt", 600 << 20),
    },
}


def recipes_of(engine: str) -> tuple[Recipe, ...]:
    """Every recipe of an engine, with and without add-ons."""
    plain = tuple(RECIPES[engine].values())
    names = ADDONS.get(engine, {})
    return (*plain, *(recipe.with_addon(name) for recipe in plain for name in names))
