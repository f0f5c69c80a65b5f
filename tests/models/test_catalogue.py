"""The catalogue: every promised model is in it, and it is found however people write it."""

from __future__ import annotations

import re
import typing

import pytest

from codehearth.errors import ModelNotFound
from codehearth.models.catalogue import (
    Kind,
    catalogue,
    lookup,
    nearest,
    resolve,
    row_of_repository,
)
from codehearth.models.names import CatalogueName, is_safe_repository, parse_name
from codehearth.models.precisions import (
    BITS_PER_WEIGHT,
    nearest_to_default,
    normalised,
    precision_of_file,
)
from codehearth.text.fim_formats import FIM_FORMATS

PROMISED = [
    "starter",
    "codefuse-deepseek-33b",
    *(f"qwen2-{size}" for size in ("0.5b", "1.5b", "7b", "57b-a14b", "72b")),
    *(f"qwen1.5-{size}" for size in ("0.5b", "1.8b", "4b", "7b", "14b", "32b", "72b")),
    *(
        f"codegen-{size}-{kind}"
        for size in ("350m", "2b", "6b", "16b")
        for kind in ("mono", "multi")
    ),
    "incoder-1b",
    "incoder-6b",
    "codegeex2-6b",
    *(
        f"qwen2.5-coder-{size}{kind}"
        for size in ("0.5b", "1.5b", "3b", "7b", "14b", "32b")
        for kind in ("", "-base")
    ),
    "qwen3-coder-30b-a3b",
    "qwen3-coder-480b-a35b",
    *(f"deepseek-coder-{size}{kind}" for size in ("1.3b", "6.7b", "33b") for kind in ("", "-base")),
    "deepseek-coder-v2-lite",
    *(f"starcoder2-{size}" for size in ("3b", "7b", "15b")),
    "codestral-22b",
    "codegemma-2b",
    "codegemma-7b",
    *(f"granite-code-{size}" for size in ("3b", "8b", "20b", "34b")),
    *(f"codellama-{size}" for size in ("7b", "13b", "34b")),
    "seed-coder-8b",
    "glm-4-9b",
    "glm-4.5-air",
    "glm-4.7-flash",
]


@pytest.mark.parametrize("name", PROMISED)
def test_every_promised_model_has_a_row(name: str) -> None:
    assert catalogue()[name].name == name


def test_every_row_is_sound() -> None:
    for row in catalogue().values():
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]+", row.name)
        assert row.kind in typing.get_args(Kind)
        assert row.num_parameters > 0, row.name
        assert 1024 <= row.context_tokens <= 1 << 20, row.name
        assert row.licence, row.name
        assert re.fullmatch(r"20\d\d-[01]\d", row.released), row.name
        assert row.fim is None or row.fim in FIM_FORMATS, row.name
        assert bool(row.chat) == (row.kind == "chat"), row.name
        assert row.files or row.name == "starter", row.name


def test_every_source_of_weights_is_a_repository_in_a_known_precision() -> None:
    for row in catalogue().values():
        for files in row.files:
            assert files.huggingface or files.modelscope, row.name
            for repo in (files.huggingface, files.modelscope):
                assert repo is None or is_safe_repository(repo), repo
            assert normalised(files.precision) in {*BITS_PER_WEIGHT}, files.precision
            assert files.format in ("gguf", "safetensors")


def test_every_figure_has_a_source_and_a_unit() -> None:
    for row in catalogue().values():
        for figure in row.figures:
            assert figure.source.startswith(("https://", "arXiv:")), row.name
            assert figure.metric and figure.benchmark and figure.value > 0, row.name


def test_the_published_loss_of_four_bits_is_there() -> None:
    figures = {figure.precision: figure.value for figure in lookup("codefuse-deepseek-33b").figures}

    assert figures == {"bf16": 78.65, "int4": 78.05}


@pytest.mark.parametrize(
    ("written", "name", "precision"),
    [
        ("qwen2.5-coder:7b", "qwen2.5-coder-7b", None),
        ("Qwen2.5-Coder-7B", "qwen2.5-coder-7b", None),
        ("QWEN2_5_CODER_7B", "qwen2.5-coder-7b", None),
        ("qwen2.5 coder 7b", "qwen2.5-coder-7b", None),
        ("Qwen2.5-Coder-7B-Instruct", "qwen2.5-coder-7b", None),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "qwen2.5-coder-7b", None),
        ("Qwen/Qwen2.5-Coder-7B", "qwen2.5-coder-7b-base", None),
        ("qwen2.5-coder:7b-base", "qwen2.5-coder-7b-base", None),
        ("qwen2.5-coder:7b-instruct-q8_0", "qwen2.5-coder-7b", "q8_0"),
        ("qwen2.5-coder-7b:Q8_0", "qwen2.5-coder-7b", "q8_0"),
        ("qwen2.5-coder-7b:4bit", "qwen2.5-coder-7b", "int4"),
        ("qwen2.5-coder:7b-instruct-fp16", "qwen2.5-coder-7b", "f16"),
        ("qwen2-7b-instruct-q5_k_m", "qwen2-7b", "q5_k_m"),
        ("Qwen2-7B-Instruct-GPTQ-Int4", "qwen2-7b", "int4"),
        ("Qwen1.5-7B-Chat", "qwen1.5-7b", None),
        ("CodeFuse-DeepSeek-33B-4bits", "codefuse-deepseek-33b", "int4"),
        ("deepseek-coder:6.7b", "deepseek-coder-6.7b", None),
        ("codellama:13b-code", "codellama-13b-base", None),
        ("codegemma:7b", "codegemma-7b", None),
        ("granite-code:8b", "granite-code-8b", None),
        ("codestral", "codestral-22b", None),
        ("codestral:latest", "codestral-22b", None),
        ("Salesforce/codegen-350M-mono", "codegen-350m-mono", None),
        ("facebook/incoder-6B", "incoder-6b", None),
        ("THUDM/codegeex2-6b-int4", "codegeex2-6b", "int4"),
    ],
)
def test_a_model_is_found_however_it_is_written(
    written: str, name: str, precision: str | None
) -> None:
    parsed = parse_name(written)
    assert isinstance(parsed, CatalogueName)

    row, found = resolve(parsed)

    assert (row.name, found) == (name, precision)
    assert lookup(written) is row


@pytest.mark.parametrize("name", list(catalogue()))
def test_each_row_is_found_by_its_own_name(name: str) -> None:
    assert lookup(name).name == name


def test_a_misspelt_name_is_told_what_is_near() -> None:
    with pytest.raises(ModelNotFound) as caught:
        lookup("qwen2.5-codr-7b")

    assert caught.value.nearest[0] == "qwen2.5-coder-7b"
    assert "did you mean qwen2.5-coder-7b" in (caught.value.hint or "")


def test_a_precision_that_does_not_exist_tells_those_that_do() -> None:
    with pytest.raises(ModelNotFound) as caught:
        lookup("qwen2.5-coder-7b:q1_x")

    assert "q4_k_m" in (caught.value.hint or "")
    assert "bf16" in (caught.value.hint or "")


def test_an_unknown_repository_is_told_how_repositories_are_written() -> None:
    with pytest.raises(ModelNotFound) as caught:
        lookup("zzyzx/qqqqqqqq")

    assert "hf:zzyzx/qqqqqqqq" in (caught.value.hint or "")


def test_nothing_is_near_to_nonsense() -> None:
    assert nearest("zzzzqqqq", catalogue()) == ()


def test_a_repository_leads_to_its_row() -> None:
    found = row_of_repository("modelscope", "qwen/qwen2.5-coder-7b-instruct-gguf")

    assert found is not None
    assert found[0].name == "qwen2.5-coder-7b"
    assert "q4_k_m" in {files.precision for files in found[1]}


@pytest.mark.parametrize(
    ("path", "precision"),
    [
        ("qwen2-7b-instruct-q5_k_m.gguf", "q5_k_m"),
        ("deepseek-coder-6.7b-instruct.Q4_K_M.gguf", "q4_k_m"),
        ("GLM-4-32B-0414-UD-Q4_K_XL.gguf", "q4_k_xl"),
        ("Q8_0/big-Q8_0-00001-of-00003.gguf", "q8_0"),
        ("BF16/model-IQ4_XS.gguf", "iq4_xs"),
        ("qwen2.5-coder-7b-instruct-fp16-00001-of-00004.gguf", "f16"),
        ("codegemma-2b.gguf", None),
        ("model-q4.gguf", None),
    ],
)
def test_a_file_name_tells_its_precision(path: str, precision: str | None) -> None:
    assert precision_of_file(path) == precision


def test_the_default_is_q4_k_m_or_what_is_nearest_in_size() -> None:
    assert nearest_to_default(["q8_0", "Q4_K_M", "q2_k"]) == "Q4_K_M"
    assert nearest_to_default(["q8_0", "q5_k_m", "q2_k"]) == "q5_k_m"
    assert nearest_to_default(["f16", "q8_0"]) == "q8_0"
    assert nearest_to_default([]) is None
