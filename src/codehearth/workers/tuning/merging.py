"""The adapter is added to the base's weights: a checkpoint like any other.

What is not weights is copied from the base as it is, so that tokens and end of an answer stay the
same. The chat template alone gets the system prompt of the training, for conversations that bring
none: so the model is asked as it was taught.
"""

from __future__ import annotations

import gc
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from .loading import DTYPES, base_of, exact_dtype

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".index.json")
_MAX_COPIED_BYTES = 256 << 20


def merge(job: dict[str, Any]) -> None:
    """Writes `merged/`."""
    folder = Path(job["folder"])
    unfinished = folder / "merged.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    # A large model is merged in the type that it is stored in; a small one in 32 bits, so that
    # the sum is rounded once.
    stored = DTYPES[job["stored_dtype"]]
    dtype = torch.float32 if exact_dtype(job["num_parameters"], job) == torch.float32 else stored
    model = PeftModel.from_pretrained(base_of(job, dtype=dtype), folder / "adapter")
    merged = model.merge_and_unload(safe_merge=True).to(stored)
    merged.save_pretrained(unfinished, max_shard_size="4GB")
    del model, merged
    gc.collect()
    _copy_the_rest(Path(job["base"]), unfinished)
    if job["chat_template"]:
        _set_template(unfinished, job["chat_template"])
    unfinished.replace(folder / "merged")


def _copy_the_rest(base: Path, target: Path) -> None:
    for path in base.iterdir():
        is_weights = path.name.endswith(_WEIGHTS)
        if path.is_file() and not is_weights and path.stat().st_size <= _MAX_COPIED_BYTES:
            shutil.copyfile(path, target / path.name)


def _set_template(folder: Path, template: str) -> None:
    """Where the base has it: in a file of its own, else in the tokenizer's configuration."""
    config = folder / "tokenizer_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    if (folder / "chat_template.jinja").is_file():
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        values.pop("chat_template", None)
    else:
        values["chat_template"] = template
    config.write_text(json.dumps(values, ensure_ascii=False, indent=2), encoding="utf-8")
