"""A LoRA adapter beside a GGUF answers as the same numbers merged into the weights; llama.cpp is
the judge."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from codehearth.errors import BadWeights, Unsupported
from codehearth.lab import quantize
from codehearth.lab.checkpoint_source import checkpoint_source
from codehearth.lab.layout import layout
from codehearth.lab.mixture import recipe_of
from codehearth.lab.tuning.adapter import gguf_alpha, require_plain, write_gguf_adapter
from codehearth.lab.tuning.asking import answers
from codehearth.lab.tuning.parity import compare
from codehearth.models.made import Made, MadeModel
from tests.lab.checkpoints import make_checkpoint, write_safetensors
from tests.tiny_adapters import ALPHA, RANK, make_adapter

PROBES = [{"prompt": "def add(a, b):"}, {"messages": [{"role": "user", "content": "hi"}]}]


def as_gguf(checkpoint: Path, folder: Path, name: str) -> Path:
    laid_out = layout(checkpoint_source(checkpoint, name=name), recipe_of("f32"))
    return quantize.run(
        laid_out, Made(folder), MadeModel(name, "f32"), num_threads=1,
        free_bytes=lambda _: 1 << 40, progress=lambda _: None,
    ).path  # fmt: skip


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("architecture", ["Qwen2ForCausalLM", "LlamaForCausalLM"])
def test_an_adapter_beside_a_gguf_is_the_merged_model(
    architecture: str, rslora: bool, tmp_path: Path
) -> None:
    """Llama's queries and keys are kept in another order; an adapter that is not answers noise."""
    base = make_checkpoint(tmp_path / "base", architecture, dtype="F32")
    numbers = make_adapter(tmp_path / "adapter", base.tensors, use_rslora=rslora)
    scale = ALPHA / (math.sqrt(RANK) if rslora else RANK)
    merged = dict(base.tensors)
    for name in base.tensors:
        key = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{key}.lora_A.weight" in numbers:
            added = numbers[f"{key}.lora_B.weight"] @ numbers[f"{key}.lora_A.weight"]
            merged[name] = (base.tensors[name] + scale * added).astype(np.float32)
    make_checkpoint(tmp_path / "merged", architecture, dtype="F32")
    write_safetensors(tmp_path / "merged" / "model.safetensors", merged, dtype="F32")
    write_gguf_adapter(tmp_path / "adapter", base.folder, tmp_path / "a.gguf", name="me")

    expected = answers(
        as_gguf(tmp_path / "merged", tmp_path, "merged"), PROBES, num_new=8, num_threads=1
    )
    base_gguf = as_gguf(base.folder, tmp_path, "base")
    found = answers(base_gguf, PROBES, num_new=8, num_threads=1, adapter=tmp_path / "a.gguf")
    plain = answers(base_gguf, PROBES, num_new=8, num_threads=1)

    assert compare("adapter", expected, found, bound=0.01).agrees
    assert not compare("base alone", expected, plain, bound=0.01).agrees


def test_the_file_says_what_llama_cpp_asks(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base", dtype="F32")
    make_adapter(tmp_path / "adapter", base.tensors)

    write_gguf_adapter(tmp_path / "adapter", base.folder, tmp_path / "a.gguf", name="me")

    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    facts = {name: field.contents() for name, field in reader.fields.items()}
    shapes = {tensor.name: tuple(int(n) for n in tensor.shape) for tensor in reader.tensors}
    assert facts["general.type"] == "adapter" and facts["adapter.type"] == "lora"
    assert facts["general.architecture"] == "qwen2" and facts["adapter.lora.alpha"] == ALPHA
    assert len(shapes) == 2 * 7 * 2
    assert shapes["blk.0.attn_q.weight.lora_a"] == (256, RANK)
    assert shapes["blk.1.ffn_down.weight.lora_b"] == (RANK, 256)


@pytest.mark.parametrize(
    "facts",
    [
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"bias": "all"},
        {"rank_pattern": {"q_proj": 2}},
        {"alpha_pattern": {"q_proj": 2}},
        {"trainable_token_indices": [1]},
        {"peft_type": "IA3"},
    ],
)
def test_what_the_form_cannot_hold_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match=r"cannot be written for llama\.cpp"):
        require_plain({"r": 4, "lora_alpha": 8, **facts})


@pytest.mark.parametrize("facts", [{}, {"r": 0, "lora_alpha": 8}, {"r": 4, "lora_alpha": "8"}])
def test_an_adapter_without_its_scale_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(BadWeights):
        gguf_alpha(facts)
