"""Writes GGUF headers byte by byte, so that tests can write wrong ones."""

from __future__ import annotations

import struct
from collections.abc import Iterable

KINDS = {"u8": 0, "u32": 4, "i32": 5, "f32": 6, "bool": 7, "str": 8, "array": 9, "u64": 10}
FORMATS = {"u8": "<B", "u32": "<I", "i32": "<i", "f32": "<f", "bool": "<?", "u64": "<Q"}


def text(value: str | bytes, *, claimed: int | None = None) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(content) if claimed is None else claimed) + content


def pair(key: str | bytes, kind: str, value: object) -> bytes:
    head = text(key) + struct.pack("<I", KINDS[kind])
    return head + (text(value) if kind == "str" else struct.pack(FORMATS[kind], value))  # type: ignore[arg-type]


def string_array(key: str, items: Iterable[str | bytes], *, claimed: int | None = None) -> bytes:
    content = [text(item) for item in items]
    count = len(content) if claimed is None else claimed
    return text(key) + struct.pack("<IIQ", 9, 8, count) + b"".join(content)


def number_array(
    key: str, kind: str, items: Iterable[float], *, claimed: int | None = None
) -> bytes:
    content = [struct.pack(FORMATS[kind], item) for item in items]
    count = len(content) if claimed is None else claimed
    return text(key) + struct.pack("<IIQ", 9, KINDS[kind], count) + b"".join(content)


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    sizes = b"".join(struct.pack("<Q", size) for size in shape)
    return text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset)


def header(
    pairs: Iterable[bytes] = (),
    tensors: Iterable[bytes] = (),
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    num_pairs: int | None = None,
    num_tensors: int | None = None,
    data: bytes | None = None,
) -> bytes:
    """A whole file; `data` None: none is needed or 4096 zeros where there are tensors."""
    pairs, tensors = list(pairs), list(tensors)
    start = magic + struct.pack(
        "<IQQ",
        version,
        len(tensors) if num_tensors is None else num_tensors,
        len(pairs) if num_pairs is None else num_pairs,
    )
    content = start + b"".join(pairs) + b"".join(tensors)
    if tensors and data is None:
        data = bytes(-len(content) % 32 + 4096)
    return content + (data or b"")


def llama_facts(**changes: object) -> list[bytes]:
    """The facts of a small model; a change replaces one, None removes it."""
    facts: dict[str, tuple[str, object]] = {
        "general.architecture": ("str", "llama"),
        "llama.block_count": ("u32", 1),
        "llama.context_length": ("u32", 64),
        "llama.embedding_length": ("u32", 32),
        "llama.feed_forward_length": ("u32", 64),
        "llama.attention.head_count": ("u32", 4),
    }
    result = []
    for key, (kind, value) in facts.items():
        name = key.rpartition(".")[2]
        if name in changes:
            if changes[name] is not None:
                result.append(pair(key, kind, changes[name]))
        else:
            result.append(pair(key, kind, value))
    return result
