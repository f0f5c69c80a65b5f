"""What tests of engines' files share: facts about weights to ask about, and a look into an argv."""

from __future__ import annotations

from dataclasses import dataclass


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
