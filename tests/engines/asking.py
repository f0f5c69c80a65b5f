"""What tests of engines' files share: facts about weights, an environment, a look into an argv."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from codehearth.engines.recipes import RECIPES


@dataclass(frozen=True)
class Facts:
    """What an engine asks of weights (`engines.base.LoadableWeights`)."""

    kind: str = "safetensors"
    architecture: str = "qwen2"
    precision: str = "BF16"
    is_embedding_model: bool = False
    key_size: int = 64
    output_bytes: int = 1


GGUF = Facts(kind="gguf", precision="F16")


def value_of(argv: tuple[str, ...], flag: str) -> str:
    """The word behind a flag."""
    return argv[argv.index(flag) + 1]


def pretend(environments: Path, engine: str, *, device: str = "cpu", **facts: object) -> Path:
    """An environment that looks whole; nothing is started from it here."""
    folder = environments / engine / "0a"
    (folder / "bin").mkdir(parents=True)
    (folder / "lib" / "python3" / "site-packages").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    digest = RECIPES[engine][device].digest  # type: ignore[index]
    record = {"folder": "0a", "device": device, "version": "1", "digest": digest, "facts": facts}
    (environments / engine / "environment.json").write_text(json.dumps(record))
    return folder
