"""A GGUF header's facts, asked for by name and checked when they are."""

from __future__ import annotations

from codehearth.errors import BadWeights
from codehearth.models.gguf_header import GgufHeader, Value

# llama.cpp's own limit (LLAMA_MAX_LAYERS).
MAX_LAYERS = 512
MAX_COUNT = 1 << 24


class Metadata:
    """Typed questions to a header; a fact of the wrong type or size raises BadWeights."""

    def __init__(self, header: GgufHeader) -> None:
        self.header = header
        self.architecture = self.text("general.architecture") or ""

    def bad(self, what: str, hint: str = "download the file again") -> BadWeights:
        return BadWeights(f"'{self.header.file_name}' {what}.", hint=hint)

    def text(self, key: str) -> str | None:
        value = self.header.metadata.get(key)
        if value is not None and not isinstance(value, str):
            raise self.bad(f"has no text in '{key}'")
        return value

    def flag(self, key: str) -> bool | None:
        value = self.header.metadata.get(key)
        return value if isinstance(value, bool) else None

    def flag_of(self, key: str) -> bool | None:
        return self.flag(f"{self.architecture}.{key}")

    def value_of(self, key: str) -> Value | None:
        return self.header.metadata.get(f"{self.architecture}.{key}")

    def count(self, key: str, *, default: int | None = None, maximum: int = 1 << 32) -> int:
        """A whole number from 0 to `maximum`; `default` (any number) where the key is missing."""
        value = self.header.metadata.get(key)
        if value is None and default is not None:
            return default
        return self._checked(key, value, maximum)

    def of(self, key: str, *, default: int | None = None, maximum: int = MAX_COUNT) -> int:
        """The same of the model's architecture: `of("block_count")` is `qwen2.block_count`.

        Where the file has one number for each layer, the largest.
        """
        value = self.value_of(key)
        if isinstance(value, tuple):
            return max((self._checked(key, item, maximum) for item in value), default=default or 0)
        return self.count(f"{self.architecture}.{key}", default=default, maximum=maximum)

    def by_layer(self, key: str, num_layers: int, *, default: int) -> tuple[int, ...]:
        """One number a layer, whether the file has one for each or one for all."""
        value = self.value_of(key)
        if isinstance(value, tuple):
            if len(value) < num_layers:
                raise self.bad(f"has {len(value)} numbers in '{key}' for {num_layers} layers")
            return tuple(self._checked(key, item, MAX_COUNT) for item in value[:num_layers])
        return (self.of(key, default=default),) * num_layers

    def _checked(self, key: str, value: Value | None, maximum: int) -> int:
        if value is None:
            raise self.bad(f"does not say '{key}'")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= maximum:
            raise self.bad(f"says {str(value)[:40]!r} for '{key}'")
        return value
