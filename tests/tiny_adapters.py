"""LoRA adapters of random numbers, as PEFT writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.lab.checkpoints import write_safetensors

RANK, ALPHA = 4, 16
SEVEN = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
         "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")  # fmt: skip


def make_adapter(
    folder: Path, tensors: Mapping[str, Any], *, seed: int = 1, **changes: Any
) -> dict[str, Any]:
    """PEFT's files with random numbers for every matrix of the layers; the numbers."""
    generator = np.random.default_rng(seed)
    folder.mkdir()
    numbers = {}
    for name, values in tensors.items():
        module = name.removesuffix(".weight")
        if not module.endswith(SEVEN):
            continue
        for letter, shape in (("A", (RANK, values.shape[1])), ("B", (values.shape[0], RANK))):
            key = f"base_model.model.{module}.lora_{letter}.weight"
            numbers[key] = generator.standard_normal(shape, dtype=np.float32) * 0.2
    write_safetensors(folder / "adapter_model.safetensors", numbers, dtype="F32")
    facts = {
        "peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none",
        "target_modules": [name.rpartition(".")[2] for name in SEVEN], "task_type": "CAUSAL_LM",
        **changes,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(facts))
    return numbers
