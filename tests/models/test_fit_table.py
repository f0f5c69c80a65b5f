"""The table of engines and precisions: `hearth fit MODEL --all`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from codehearth.models.fit_table import fit_table
from codehearth.models.gpus import Gpu
from codehearth.models.hardware import snapshot
from tests.cli.command_line import Hearth
from tests.models.test_published_memory import CODEGEEX2_6B, GIB


@pytest.fixture
def hearth(tmp_path: Path) -> Hearth:
    home = tmp_path / "home"
    home.mkdir()
    return Hearth(home)


def test_each_precision_takes_less_than_the_one_before_and_what_fits_is_told() -> None:
    machine = replace(snapshot(), free_bytes=8 * GIB, gpus=())

    rows = fit_table(CODEGEEX2_6B, machine, context_tokens=2048)

    for engine in ("llama.cpp", "transformers", "fastllm"):
        totals = [row.total_bytes for row in rows if row.engine == engine]
        assert totals == sorted(totals, reverse=True) and len(totals) >= 3
    fitting = {(row.engine, row.precision): row.fits for row in rows}
    assert fitting["transformers", "int8"] and not fitting["transformers", "bf16"]
    assert fitting["llama.cpp", "q4_k_m"] and not fitting["llama.cpp", "f16"]
    assert all(row.kv_bytes == rows[0].kv_bytes for row in rows)


def test_an_engine_that_runs_on_gpus_alone_does_not_fit_where_there_is_none() -> None:
    gpu = Gpu(0, "NVIDIA H200", "cuda", 140 * GIB, 139 * GIB)
    without, with_one = (
        {row.engine: row for row in fit_table(CODEGEEX2_6B, machine, context_tokens=2048)}
        for machine in (
            replace(snapshot(), free_bytes=64 * GIB, gpus=gpus) for gpus in ((), (gpu,))
        )
    )

    assert not without["lmdeploy"].fits and without["lmdeploy"].lacks_gpu
    assert without["vllm"].fits and not without["vllm"].lacks_gpu
    assert with_one["lmdeploy"].fits and not with_one["lmdeploy"].lacks_gpu


def test_a_gguf_file_is_not_offered_in_a_finer_precision_than_its_own(hearth: Hearth) -> None:
    done = hearth("fit", "starter", "--all", "--json")

    rows = [row["precision"] for row in done.document if row["engine"] == "llama.cpp"]
    assert rows[:2] == ["q8_0", "q6_k"] and "f16" not in rows
    assert {row["engine"] for row in done.document} >= {"llama.cpp", "transformers"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("codegeex2-6b", "--engine", "transformers", "--precision", "int8"), "int8"),
        (("incoder-6b",), "incoder-6b:fp16"),  # no GGUF of it, so as a checkpoint
        (("starter:bf16", "--precision", "int4"), "int4"),
    ],
)
def test_a_model_is_predicted_as_the_engine_that_is_asked_for_runs_it(
    hearth: Hearth, arguments: tuple[str, ...], told: str
) -> None:
    done = hearth("fit", *arguments, "--ctx", "2048", "--slots", "1")

    assert told in done.out + done.err
    assert done.code in (0, 3)
    assert "parameters" in done.out or "memory" in done.err.lower()
