"""AutoGPTQ's layout of a packed checkpoint, without an engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_gptq import tiny_gptq

from codehearth.models.checkpoint import precision
from codehearth.models.weights import read_weights
from codehearth.workers.transformers.arranging import arranged


@pytest.mark.parametrize("is_autogptqs", [False, True])
def test_both_layouts_say_the_same_of_themselves(is_autogptqs: bool, tmp_path: Path) -> None:
    packed, plain = tiny_gptq(tmp_path, is_autogptqs=is_autogptqs)

    weights = read_weights(packed)

    assert weights.precision == "INT4 (GPTQ)" and precision(packed) == "int4"
    assert weights.num_parameters == read_weights(plain).num_parameters


def test_autogptqs_layout_becomes_transformers_by_links(tmp_path: Path) -> None:
    packed, plain = tiny_gptq(tmp_path, is_autogptqs=True)

    found = arranged(packed)

    assert arranged(plain) == plain
    assert (found / "model.safetensors").resolve().name == "gptq_model-4bit-32g.safetensors"
    config = json.loads((found / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "gptq"
    assert config["quantization_config"]["group_size"] == 32
    assert (found / "tokenizer.json").is_file()
