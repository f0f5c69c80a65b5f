"""The JSON files beside a checkpoint's weights, read with bounds: what the model is.

`config.json` has had many spellings; those of the families in the catalogue are known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codehearth.errors import BadWeights
from codehearth.models.safetensors_header import parse_bounded

MAX_CONFIG_BYTES = 1 << 20
# tokenizer_config.json lists added tokens, and some models add thousands.
MAX_TOKENIZER_CONFIG_BYTES = 8 << 20
MAX_CHAT_TEMPLATE_BYTES = 1 << 20
MAX_LAYERS = 1024
MAX_COUNT = 1 << 24


class Config:
    """Questions to a checkpoint's `config.json`; the first spelling that is there answers."""

    def __init__(self, values: Mapping[str, Any], file_name: str) -> None:
        text = values.get("text_config")
        # Models that also see have the language model's part one floor deeper.
        self.values = {**values, **text} if isinstance(text, dict) else values
        self.file_name = file_name

    def count(self, *names: str, default: int | None = None, maximum: int = MAX_COUNT) -> int:
        """A whole number from 0 to `maximum`; raises BadWeights without it and a default."""
        for name in names:
            value = self.values.get(name)
            if value is None:
                continue
            if type(value) is not int or not 0 <= value <= maximum:
                raise self.bad(f"says {str(value)[:40]!r} for '{name}'")
            return value
        if default is None:
            raise self.bad(f"does not say '{names[0]}'")
        return default

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        return value[:200] if isinstance(value, str) else None

    def section(self, name: str) -> Mapping[str, Any]:
        value = self.values.get(name)
        return value if isinstance(value, dict) else {}

    def bad(self, what: str) -> BadWeights:
        return BadWeights(f"'{self.file_name}' {what}.", hint="download the checkpoint again")


def read_config(folder: Path) -> Config:
    path = folder / "config.json"
    if not path.is_file():
        raise BadWeights(
            f"'{folder.name}' has no config.json.", hint="download the whole checkpoint"
        )
    values = read_object(path, MAX_CONFIG_BYTES)
    packed = folder / "quantize_config.json"
    if "quantization_config" not in values and packed.is_file():
        # AutoGPTQ's layout (CodeFuse's 4-bit checkpoints): how it is packed stands in a file apart.
        values["quantization_config"] = {
            "quant_method": "gptq",
            **read_object(packed, MAX_CONFIG_BYTES),
        }
    return Config(values, path.name)


def read_object(path: Path, max_bytes: int) -> dict[str, Any]:
    """The JSON object in the file at `path`; raises BadWeights."""
    return parse_bounded(read_bounded(path, max_bytes), path.name)


def read_bounded(path: Path, max_bytes: int) -> bytes:
    try:
        if not path.is_file():
            raise BadWeights(f"'{path.name}' is not a regular file.")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise BadWeights(f"'{path.name}' cannot be read: {error.strerror}.") from error
    if len(content) > max_bytes:
        raise BadWeights(f"'{path.name}' is larger than {max_bytes} bytes.")
    return content


def chat_template(folder: Path) -> str | None:
    """The checkpoint's own template: a file of its own, or the tokenizer's default one."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return read_bounded(path, MAX_CHAT_TEMPLATE_BYTES).decode("utf-8", "replace")
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            found = read_object(folder / name, MAX_TOKENIZER_CONFIG_BYTES).get("chat_template")
            template = _default_template(found)
            if template is not None:
                return template
    return None


def _default_template(found: object) -> str | None:
    if isinstance(found, list):
        named = {entry.get("name"): entry.get("template") for entry in found if _is_named(entry)}
        found = named.get("default")
    if isinstance(found, str) and len(found) <= MAX_CHAT_TEMPLATE_BYTES:
        return found
    return None


def _is_named(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str)


def token_ids(folder: Path, config: Config, vocabulary_size: int) -> dict[str, int]:
    """Special tokens; the generation config's win, as they do in transformers.

    Of several end tokens the first is `eos` and the second `eot`.
    """
    generation: Mapping[str, Any] = {}
    if (folder / "generation_config.json").is_file():
        generation = read_object(folder / "generation_config.json", MAX_CONFIG_BYTES)
    ids: dict[str, int] = {}
    for source in (generation, config.values):
        for name in ("bos", "eos", "pad"):
            value = source.get(f"{name}_token_id")
            several = value if isinstance(value, list) else [value]
            known = [one for one in several if type(one) is int and 0 <= one < vocabulary_size]
            if known:
                ids.setdefault(name, known[0])
            if name == "eos" and len(known) > 1:
                ids.setdefault("eot", known[1])
    return ids
