"""Which library of llama.cpp's reads a text, and whether its structs are as they are known."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from codehearth.engines.base import Engine
from codehearth.engines.llama_server import LlamaServer
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.native_tools import native_tools
from codehearth.errors import EngineFailed
from codehearth.lab import library, scoring, structs
from codehearth.lab.circumstances import library_of
from codehearth.lab.scoring import tokenize
from tests.cli.command_line import STARTER
from tests.engine_environments import ENVIRONMENTS, installed
from tests.lab.test_measure import TEXT, scores


@pytest.mark.parametrize(
    ("engine", "name", "path"),
    [
        (LlamaCpp({}), "xllamacpp", None),
        (LlamaServer(Path("/usr/bin/llama-server"), "7", frozenset()), "xllamacpp", None),
        (
            LlamaServer(Path("/e/bin/llama-server"), "7", frozenset(), library=Path("/e/lib/l.so")),
            "llamacpp-native",
            Path("/e/lib/l.so"),
        ),
    ],
)
def test_the_library_of_the_engine_that_serves_reads(
    engine: Engine, name: str, path: Path | None
) -> None:
    found = library_of(engine)

    assert (found.name, found.path) == (name, path)
    assert found.version


def test_the_library_that_was_built_here_says_what_the_wheels_says(tmp_path: Path) -> None:
    """Two releases, two layouts, two instruction sets: the same model."""
    installed("llamacpp-native")
    tools = native_tools(ENVIRONMENTS)
    if tools is None or tools.library is None:
        pytest.skip("it was built before its library was kept")
    built = scoring.Library("llamacpp-native", "", tools.library)

    one, other = scores(STARTER, tmp_path), scores(STARTER, tmp_path, library=built)

    assert np.mean(one.nll) == pytest.approx(np.mean(other.nll), rel=1e-3)
    assert tokenize(STARTER, TEXT) == tokenize(STARTER, TEXT, built)


def test_a_library_that_cannot_be_called_is_told_with_the_way_around_it(tmp_path: Path) -> None:
    (tmp_path / "libllama.so").write_bytes(b"no library")
    broken = scoring.Library("llamacpp-native", "", tmp_path / "libllama.so")

    with pytest.raises(EngineFailed, match=r"libllama\.so is not as expected") as told:
        tokenize(STARTER, TEXT, broken)

    assert "--llama-server off" in (told.value.hint or "")


def test_a_release_that_lays_out_its_structs_otherwise_is_refused() -> None:
    """Found by size and place, even where every default is the same."""

    class Moved(ctypes.Structure):
        _fields_ = (*structs.ModelParams._fields_, ("new", ctypes.c_bool), ("more", ctypes.c_int))

    native = library.load()
    library.model_params(native)  # as it is, it is accepted

    model, context = "llama_model_default_params", "llama_context_default_params"
    changed = {**structs.CONTEXT_DEFAULTS, "n_ctx": 1024}
    for function, layouts, known in (
        (model, (Moved,), structs.MODEL_DEFAULTS),
        (context, (structs.ContextParams,), structs.CONTEXT_DEFAULTS),  # another release's
        (context, structs.CONTEXT_LAYOUTS, changed),
    ):
        with pytest.raises(library.LibraryChanged, match=function):
            library._layout_of(native, function, layouts, known)
