"""GGUF files by their names: which are models, which are parts of one; pure.

llama.cpp splits large models into `name-00001-of-00003.gguf` and opens the first part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)

# Files in GGUF's clothes that are no language model: a vision projector, an importance matrix,
# a table of corrections for a draft.
_NOT_MODELS = re.compile(r"(?:^|[-._])(mmproj|imatrix|mtp)(?:$|[-._])", re.IGNORECASE)


@dataclass(frozen=True)
class GgufModel:
    """One model: its files in order. Incomplete where a part is missing."""

    files: tuple[str, ...]
    is_complete: bool = True

    @property
    def is_split(self) -> bool:
        return _PART.fullmatch(self.files[0]) is not None


def group_parts(paths: Iterable[str]) -> tuple[GgufModel, ...]:
    """The models among `paths`, in the order of their names."""
    models: list[GgufModel] = []
    parts: dict[tuple[str, int], dict[int, str]] = {}
    for path in sorted(paths):
        if not path.lower().endswith(".gguf") or _NOT_MODELS.search(path.rsplit("/", 1)[-1][:-5]):
            continue
        part = _PART.fullmatch(path)
        if part is None:
            models.append(GgufModel((path,)))
        else:
            parts.setdefault((part[1], int(part[3])), {})[int(part[2])] = path
    for (_, total), found in parts.items():
        files = tuple(found[number] for number in sorted(found))
        models.append(GgufModel(files, is_complete=sorted(found) == list(range(1, total + 1))))
    return tuple(sorted(models, key=lambda model: model.files))
