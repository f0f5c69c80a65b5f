"""The checkpoint of the packaged model, and a store that can make it."""

from __future__ import annotations

from pathlib import Path

from codehearth.lab.gguf_checkpoint import write_checkpoint
from codehearth.models.starter_checkpoint import StarterCheckpoint
from codehearth.models.store import Store


def starter_checkpoint(data_dir: Path) -> Path:
    """The folder of `starter:bf16`, made below a data folder as the first command makes it."""
    return StarterCheckpoint(data_dir, write_checkpoint).whole().folder


def store_at(data_dir: Path) -> Store:
    """A store that can make the checkpoint of the starter, and knows no hub's cache."""
    return Store(data_dir, environment={}, write_checkpoint=write_checkpoint)
