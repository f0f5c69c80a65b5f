"""Weights that are stored as plain numbers of 16 or 32 bits, read as 32-bit floats."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def plain_floats(type_name: str, raw: bytes) -> Array | None:
    """The numbers in one row; None where the type is another."""
    match type_name:
        case "F32":
            return np.frombuffer(raw, "<f4")
        case "F16":
            return np.frombuffer(raw, "<f2").astype(np.float32)
        case "BF16":
            return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    return None
