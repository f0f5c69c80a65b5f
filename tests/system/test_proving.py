"""Whether a model can infill is proven on the engine that serves it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from codehearth.engines.base import Launch
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.process import EngineProcess
from codehearth.gateway.infilling.proving import prove
from codehearth.models.facts import Weights
from codehearth.models.infilling import InfillProof
from codehearth.models.weights import read_weights
from tests.system.conftest import Hearth


def infilling(hearth: Hearth) -> dict[str, Any]:
    known = json.loads(hearth.run("show", "starter", "--json").stdout)["infilling"]
    assert isinstance(known, dict)
    return known


def test_a_model_is_asked_for_a_known_middle_once_it_is_served(hearth: Hearth) -> None:
    assert infilling(hearth)["proof"] is None
    assert "not tried yet" in hearth.run("show", "starter").stdout

    with hearth.serving():
        until = time.monotonic() + 60
        while infilling(hearth)["proof"] is None and time.monotonic() < until:
            pass  # each look is a command of its own

    proof = infilling(hearth)["proof"]
    assert proof["is_right"], proof
    assert proof["problems"] == []
    assert "proven with llama.cpp" in hearth.run("show", "starter").stdout


def proven(path: Path, weights: Weights) -> InfillProof:
    """What an engine with this model says where the file's facts were as given."""

    async def story() -> InfillProof:
        launch = Launch(path, "tiny", 512, num_slots=1, num_threads=1)
        command = partial(LlamaCpp({"PATH": os.environ["PATH"]}).command, launch)
        process = EngineProcess("tiny", command)
        try:
            endpoint = await process.ensure_ready()
            return await prove(endpoint, format_name="qwen", weights=weights, engine="llama.cpp")
        finally:
            await process.stop()

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        ({}, ()),
        (
            {"fim_ids": {"<|fim_prefix|>": 3}},
            ("the mark <|fim_prefix|> is not read as one token",),
        ),
        ({"add_bos": True}, ("the token that begins a text is missing",)),
    ],
)
def test_what_is_wrong_with_a_prompt_is_named(
    tiny_model: Path, change: dict[str, Any], problems: tuple[str, ...]
) -> None:
    """A random model answers anything; its prompt is what is judged here."""
    proof = proven(tiny_model, replace(read_weights(tiny_model), **change))

    assert not proof.is_right
    assert proof.problems == problems
