"""The child program on xllamacpp, by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from codehearth.workers import llamacpp

ARGUMENTS = [
    "--model", "m.gguf", "--alias", "m", "--socket", "/tmp/h/e.sock",
    "--context-tokens", "1000", "--slots", "3", "--threads", "2",
]  # fmt: skip


def test_it_asks_for_a_key_before_anything_else() -> None:
    worker = subprocess.run(
        [sys.executable, llamacpp.__file__, *ARGUMENTS], env={}, capture_output=True, check=False
    )

    assert worker.returncode == 2
    assert b"HEARTH_ENGINE_KEY is not set" in worker.stderr


def test_the_release_that_is_installed_has_every_parameter_that_is_set() -> None:
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()

    llamacpp.set_params(params, llamacpp.parse_arguments(ARGUMENTS), "key")

    assert params.n_ctx == 3000
    assert params.n_parallel == 3
    assert params.cpuparams.n_threads == params.cpuparams_batch.n_threads == 2
    assert list(params.api_keys) == ["key"]
    assert not params.ui and not params.endpoint_slots and not params.ctx_shift


def test_an_embedding_model_takes_an_input_in_one_batch() -> None:
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()

    llamacpp.set_params(params, llamacpp.parse_arguments([*ARGUMENTS, "--embedding"]), "key")

    assert params.embedding
    assert params.n_batch == params.n_ubatch == 1000


def test_a_parameter_that_is_gone_is_named() -> None:
    asked = llamacpp.parse_arguments(ARGUMENTS)

    with pytest.raises(AttributeError, match="no parameter model_alias"):
        llamacpp.set_params(object(), asked, "key")


def test_the_worker_imports_nothing_of_the_house() -> None:
    source = Path(llamacpp.__file__).read_text()

    assert "import codehearth" not in source and "from codehearth" not in source
