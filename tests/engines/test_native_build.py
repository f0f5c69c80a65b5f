"""Programs that are built from a source package: a real pip, cmake and compiler, and a toy."""

from __future__ import annotations

import ctypes
import io
import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from codehearth.engines.environments import Environments
from codehearth.engines.installed import Broken, Installed
from codehearth.engines.native_build import Compiled, jobs_for, missing_tools
from codehearth.engines.native_tools import native_tools
from codehearth.engines.recipes import RECIPES, Recipe, Sources
from codehearth.errors import EngineFailed, EngineMissing

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """
import pathlib
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = pathlib.Path(folder) / "toysource-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: toysource\\nVersion: 1.0\\n")
    return info.name
"""
CMAKE = """
cmake_minimum_required(VERSION 3.14)
project(toy C)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
add_library(llama toy.c)
set_target_properties(llama PROPERTIES VERSION 0.5.0 SOVERSION 0)
add_executable(llama-server main.c)
target_link_libraries(llama-server llama)
"""
MAIN = (
    "#include <stdio.h>\nint number(void);\n"
    'int main(void) { printf("version: %d (toy)\\n", number()); return 0; }\n'
)
CHECK = Path(__file__).parents[2] / "src" / "codehearth" / "workers" / "native_check.py"

needs_a_compiler = pytest.mark.skipif(
    not (shutil.which("cmake") and shutil.which("ninja") and shutil.which("cc")),
    reason="cmake, ninja and a compiler are not here",
)


class Yard:
    """A source package in a folder, and a pip that looks nowhere else."""

    def __init__(self, folder: Path, *, main: str = MAIN, cmake: str = CMAKE) -> None:
        self.folder = folder
        self.steps: list[str] = []
        self.environments = Environments(folder / "engines")
        self.pins = folder / "pins.txt"
        self.pins.write_text("# what is built\ntoysource==1.0\n")
        files = {
            "pyproject.toml": PYPROJECT,
            "backend.py": BACKEND,
            "PKG-INFO": "Metadata-Version: 2.1\nName: toysource\nVersion: 1.0\n",
            "vendor/toy/CMakeLists.txt": cmake,
            "vendor/toy/main.c": main,
            "vendor/toy/toy.c": "int number(void) { return 7; }\n",
        }
        with tarfile.open(folder / "toysource-1.0.tar.gz", "w:gz") as package:
            for name, text in files.items():
                entry = tarfile.TarInfo(f"toysource-1.0/{name}")
                entry.size = len(text)
                package.addfile(entry, io.BytesIO(text.encode()))

    def install(self, path: str = os.environ["PATH"]) -> Installed:
        llama_cpp = RECIPES["llamacpp-native"]["cpu"].sources
        assert llama_cpp is not None
        recipe = Recipe(
            engine="llamacpp-native",
            device="cpu",
            pins=self.pins,
            check=("-P", str(CHECK), "llama-server"),
            num_bytes=1 << 20,
            sources=Sources("vendor/toy", ("llama-server",), llama_cpp.options),
        )
        environment = {
            "PATH": path,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder),
            "PIP_CONFIG_FILE": os.devnull,
        }
        return self.environments.install(
            recipe, progress=self.steps.append, environment=environment
        )


@needs_a_compiler
def test_a_program_is_built_found_and_missed_when_it_is_gone(tmp_path: Path) -> None:
    yard = Yard(tmp_path)

    made = yard.install()
    tools = native_tools(tmp_path / "engines")
    made.program("llama-server").unlink()
    broken = yard.environments.state("llamacpp-native")

    assert made.version == "7"
    assert tools is not None and tools.server == made.program("llama-server")
    assert tools.library is not None and ctypes.CDLL(str(tools.library)).number() == 7
    assert not (made.python.parent.parent / "build").exists()
    assert "fetching the sources (toysource==1.0)" in yard.steps
    assert broken == Broken("its program llama-server is gone")
    assert native_tools(tmp_path / "engines") is None


@needs_a_compiler
def test_what_does_not_compile_leaves_nothing_and_tells_the_compilers_words(
    tmp_path: Path,
) -> None:
    yard = Yard(tmp_path, main="int main(void) { return nobody; }\n")

    with pytest.raises(EngineFailed, match="compile") as told:
        yard.install()

    assert "nobody" in told.value.log_tail
    assert "wheel" in (told.value.hint or "")
    assert not any(entry.is_dir() for entry in (tmp_path / "engines" / "llamacpp-native").iterdir())


@needs_a_compiler
def test_a_toolkit_without_the_libraries_is_named(tmp_path: Path) -> None:
    """As NVIDIA's compiler without cuBLAS is found: the compiler is there, and cmake refuses."""
    yard = Yard(tmp_path, cmake=f"{CMAKE}target_link_libraries(llama-server CUDA::cublas)\n")

    with pytest.raises(EngineFailed, match="prepare the build") as told:
        yard.install()

    assert "cuBLAS" in (told.value.hint or "")


def test_a_missing_compiler_is_told_before_anything_is_made(tmp_path: Path) -> None:
    yard = Yard(tmp_path)

    with pytest.raises(EngineMissing, match="C\\+\\+ compiler") as told:
        yard.install(path=str(tmp_path))

    assert "apt install" in (told.value.hint or "") or "xcode-select" in (told.value.hint or "")
    assert yard.steps == []


def test_for_cuda_its_compiler_is_needed_too(tmp_path: Path) -> None:
    (tmp_path / "c++").write_text("#!/bin/sh\n")
    (tmp_path / "c++").chmod(0o755)
    sources = RECIPES["llamacpp-native"]["cuda"].sources
    assert sources is not None

    missing = missing_tools(sources, {"PATH": str(tmp_path)})
    none_missing = missing_tools(replace(sources, compilers=()), {"PATH": str(tmp_path)})

    assert missing is not None and "nvcc" in missing.message and "--cpu" in (missing.hint or "")
    assert none_missing is None


def test_progress_is_told_a_tenth_at_a_time() -> None:
    step_of = Compiled()

    told = [step for done in range(1, 221) if (step := step_of(f"[{done}/220] Building x.o"))]

    assert len(told) == 10
    assert told[0] == "compiled 10 % (22 of 220)" and told[-1] == "compiled 100 % (220 of 220)"
    assert step_of("ninja: no work to do.") is None


@pytest.mark.parametrize(
    ("num_cores", "free_gib", "jobs"), [(2, 20, 2), (64, 8, 8), (0.5, 20, 1), (16, 0, 1)]
)
def test_there_is_memory_for_each_compiler(num_cores: float, free_gib: int, jobs: int) -> None:
    assert jobs_for(num_cores, free_gib << 30) == jobs
