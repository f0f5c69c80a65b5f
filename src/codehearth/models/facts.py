"""What is known about a model from its files: the facts that planning and serving need.

Filled by `gguf_weights` and `safetensors_weights`, offered to the rest of the house as
`codehearth.models.weights`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from codehearth.text.fim_formats import all_marks

WeightsKind = Literal["gguf", "safetensors", "unknown"]

# Texts of fill-in-the-middle tokens by which a vocabulary shows its family.
FIM_MARKS: tuple[str, ...] = all_marks()

# Our own key of a GGUF file's metadata: what must stand before every text that is completed.
TEXT_PREFIX = "codehearth.text_prefix"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A model's facts. Sizes are counts of numbers, `*_bytes` are bytes, ids are token ids.

    `num_bytes` counts the tensors as they are stored, not the files' headers.
    """

    kind: WeightsKind
    architecture: str
    name: str | None = None
    num_parameters: int
    num_bytes: int
    precision: str

    num_layers: int
    embedding_size: int
    num_heads: int
    num_kv_heads: int
    key_size: int
    value_size: int
    # Of a mixture of experts: of those that one token uses, together.
    feed_forward_size: int
    vocabulary_size: int
    # Merges of a byte-pair tokenizer; 0 for the others, and where it is not known.
    num_merges: int = 0
    context_tokens: int
    experts: int = 0
    experts_used: int = 0

    # One entry a layer: stored bytes, numbers that the KV cache holds for one token (0 where a
    # layer has none), and whether it looks back only `sliding_window` tokens.
    bytes_by_layer: tuple[int, ...] = ()
    kv_elements_by_layer: tuple[int, ...] = ()
    sliding_layers: tuple[bool, ...] = ()
    sliding_window: int | None = None
    # Recurrent layers (Mamba, gated delta nets) keep this many bytes for each sequence.
    state_bytes: int = 0

    embedding_bytes: int = 0
    embedding_type: str = ""
    # 0 where the output is tied to the token embedding.
    output_bytes: int = 0
    # Stored bytes by tensor type; some types are laid out anew in memory when loaded.
    bytes_by_type: Mapping[str, int] = field(default_factory=dict)

    pooling: str | None = None
    is_embedding_model: bool = False
    chat_template: str | None = None
    token_ids: Mapping[str, int] = field(default_factory=dict)
    add_bos: bool | None = None
    # Those of FIM_MARKS that the vocabulary holds as single tokens which an engine finds in a
    # text, and the ids of all that it holds.
    fim_marks: frozenset[str] = frozenset()
    fim_ids: Mapping[str, int] = field(default_factory=dict)
    licence: str | None = None
    # What must stand before every text, as ChatGLM's own code writes it: `[gMASK]sop`.
    text_prefix: str = ""
    # Made up from a parameter count, for a model that is not here yet.
    is_estimate: bool = False

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.num_bytes / self.num_parameters if self.num_parameters else 0.0


# Of a model that another server serves.
UNKNOWN_WEIGHTS = Weights(
    kind="unknown",
    architecture="unknown",
    num_parameters=0,
    num_bytes=0,
    precision="",
    num_layers=0,
    embedding_size=0,
    num_heads=0,
    num_kv_heads=0,
    key_size=0,
    value_size=0,
    feed_forward_size=0,
    vocabulary_size=0,
    context_tokens=0,
)
