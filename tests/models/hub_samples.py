"""What the tests of the store write: files that look like models, and the type of their fixture."""

from __future__ import annotations

import random
from collections.abc import Callable

from codehearth.models.store import Store

MakeStore = Callable[..., Store]


def gguf_bytes(size: int = 300_000, seed: int = 0) -> bytes:
    """Bytes that begin like a GGUF file."""
    return b"GGUF" + random.Random(seed).randbytes(size - 4)
