"""Where a model goes and what it is computed in there. Pure: the machine is an argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BF16_CAPABILITY = (8, 0)  # CUDA's, since Ampere


@dataclass(frozen=True)
class Gpu:
    """One of CUDA's; `capability` as PyTorch tells it."""

    name: str
    capability: tuple[int, int]


@dataclass(frozen=True)
class Place:
    """A device in words, and what transformers is told: nothing for the CPU, one device, or
    "auto", with which accelerate shares the layers out among several GPUs."""

    name: str
    device_map: Mapping[str, Any] | str | None = None

    @property
    def options(self) -> dict[str, Any]:
        return {} if self.device_map is None else {"device_map": self.device_map}


def place_for(wanted: str, gpus: Sequence[Gpu], *, has_mps: bool) -> Place | None:
    """The place for `cpu` or `gpu`; None where a GPU is wanted and there is none."""
    if wanted == "cpu":
        return Place("cpu")
    if len(gpus) == 1:
        return Place("cuda", {"": 0})
    if gpus:
        return Place("cuda", "auto")
    return Place("mps", {"": "mps"}) if has_mps else None


def dtype_on(place: Place, asked: str, gpus: Sequence[Gpu]) -> tuple[str, str]:
    """What is computed in, and why where it is not what was asked for: bf16 becomes fp16 where one
    of the GPUs cannot compute in it."""
    lacking = [gpu.name for gpu in gpus if gpu.capability < BF16_CAPABILITY]
    if asked == "bf16" and place.name == "cuda" and lacking:
        return "fp16", f"fp16 instead of bf16: {lacking[0]} does not compute in bf16"
    return asked, ""
