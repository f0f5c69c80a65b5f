"""Every engine reads and answers the packaged model as llama.cpp does: `hearth parity` of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from codehearth.lab.parity import compare
from codehearth.lab.parity.sides import Bench, sides_of
from codehearth.models.hardware import snapshot
from tests.engine_environments import ENVIRONMENTS, installed
from tests.starter_files import store_at

# The environment that an engine needs, and its name for users.
ENGINES = {"transformers": "transformers", "vllm": "vllm", "llamacpp-native": "llama-server"}


@pytest.mark.parametrize("environment", ENGINES)
def test_the_starter_is_the_same_model_on_every_engine(environment: str, tmp_path: Path) -> None:
    """fastllm is not among them: it tells no log-probabilities, by which they are compared."""
    installed(environment)
    machine = replace(snapshot(), gpus=())
    bench = Bench(store_at(tmp_path), machine, ENVIRONMENTS)
    names = ("llama.cpp", ENGINES[environment])

    reference, other = sides_of(bench, ("starter",), names, (), say=lambda _: None)
    found = compare(reference, other)

    assert found.is_same, found.findings
