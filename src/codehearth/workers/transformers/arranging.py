"""AutoGPTQ's layout of a packed checkpoint as transformers expects it.

CodeFuse's 4-bit checkpoints are of that time: the weights are `gptq_model-4bit-64g.safetensors`
and how they are packed stands in `quantize_config.json`. transformers looks for
`model.safetensors` and for `quantization_config` in `config.json`. Nothing is copied: a temporary
folder links to the files.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from pathlib import Path

_PACKED = "quantize_config.json"


def arranged(folder: Path) -> Path:
    """`folder`, or where its files lie as transformers expects them."""
    weights = sorted(folder.glob("*.safetensors"))
    is_usual = any(path.name.startswith("model") for path in weights)
    config = (
        json.loads((folder / "config.json").read_bytes()) if _has(folder, "config.json") else {}
    )
    says_how = "quantization_config" in config
    if not _has(folder, _PACKED) or (is_usual and says_how) or len(weights) != 1:
        return folder
    made = Path(tempfile.mkdtemp(prefix="hearth-arranged-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    for path in folder.iterdir():
        if path.is_file() and path.name != "config.json" and path not in weights:
            (made / path.name).symlink_to(path.absolute())
    (made / "model.safetensors").symlink_to(weights[0].absolute())
    packed = {"quant_method": "gptq", **json.loads((folder / _PACKED).read_bytes())}
    whole = config | {"quantization_config": config.get("quantization_config") or packed}
    (made / "config.json").write_text(json.dumps(whole), encoding="utf-8")
    return made


def _has(folder: Path, name: str) -> bool:
    return (folder / name).is_file()
