"""Names of models that are made from others."""

from __future__ import annotations

from pathlib import Path

import pytest

from codehearth.lab.naming import base_of
from codehearth.models.local_models import LocalModel
from codehearth.models.names import parse_name
from codehearth.models.starter import starter


def at(path: str) -> LocalModel:
    return LocalModel("any", Path(path), "gguf", None, 0, "path")


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("/models/coder-7b-F16.gguf", "coder-7b"),
        ("/models/coder-7b.Q8_0.gguf", "coder-7b"),
        ("/models/coder-7b.gguf", "coder-7b"),
        ("/models/coder-bf16-00001-of-00003.gguf", "coder"),
        ("/models/My Model (new)", "My-Model-new"),
    ],
)
def test_a_path_gives_its_own_name_without_a_precision(path: str, base: str) -> None:
    assert base_of(at(path)) == base
    parse_name(f"{base}:q4_k_m")  # it can be asked for


def test_the_starter_is_the_starter() -> None:
    assert base_of(starter()) == "starter"


def test_what_was_made_is_not_taken_for_the_original() -> None:
    """Else a q8_0 made of a q2_k would take the place of the good one."""
    made = LocalModel("starter:q2_k", Path("x.gguf"), "gguf", "q2_k", 0, "made")

    assert base_of(made) == "starter-q2_k"
