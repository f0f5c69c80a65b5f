"""What the environment of each engine is made of: its pins, its size, and how to try it.

A recipe is a fact: it does nothing. The pins lie beside, one file for each engine and device;
`make lock` writes them. They name no registry: pip's own configuration says where packages are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "cuda"]

_HERE = Path(__file__).parent
_GIB = 1 << 30


@dataclass(frozen=True)
class Recipe:
    """How to make an engine's environment for one kind of machine.

    `check` are the arguments of the new Python that start the engine once; the last line that
    they print is a JSON object with `version`, the engine's, and whatever else is worth knowing.
    `num_bytes` is what the environment takes on disk. `torch` is the release whose CPU build is
    wanted, None where the pins alone decide.
    """

    engine: str
    device: Device
    pins: Path
    check: tuple[str, ...]
    num_bytes: int
    torch: str | None = None

    @property
    def digest(self) -> str:
        """Changes when the pins do."""
        return hashlib.sha256(self.pins.read_bytes()).hexdigest()


def _transformers(device: Device, *, num_bytes: int) -> Recipe:
    return Recipe(
        engine="transformers",
        device=device,
        pins=_HERE / "requirements" / f"transformers-{device}.txt",
        check=("-P", str(_HERE.parent / "workers" / "transformers" / "__main__.py"), "--check"),
        num_bytes=num_bytes,
        torch="2.13.0" if device == "cpu" else None,
    )


def _tuning(device: Device, *, num_bytes: int) -> Recipe:
    return Recipe(
        engine="tuning",
        device=device,
        pins=_HERE / "requirements" / f"tuning-{device}.txt",
        check=("-P", str(_HERE.parent / "workers" / "tuning" / "__main__.py"), "--check"),
        num_bytes=num_bytes,
        torch="2.13.0" if device == "cpu" else None,
    )


# The CPU's size was measured on Linux; CUDA's is the sum of what its packages say, and a guess.
RECIPES: Mapping[str, Mapping[Device, Recipe]] = {
    "transformers": {
        "cpu": _transformers("cpu", num_bytes=int(1.5 * _GIB)),
        "cuda": _transformers("cuda", num_bytes=8 * _GIB),
    },
    # No engine: what `hearth tune` trains with.
    "tuning": {
        "cpu": _tuning("cpu", num_bytes=int(1.9 * _GIB)),
        "cuda": _tuning("cuda", num_bytes=int(8.5 * _GIB)),
    },
}
