"""Reads a text with a model and keeps what enters each matrix: a child of `calibrate.py`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codehearth.lab import library
from codehearth.lab.activations import Activations
from codehearth.lab.importance import write_importance
from codehearth.lab.scorer import EXIT_REFUSED, Network, Refused, tell


def main() -> int:
    job = json.load(sys.stdin)
    try:
        for line in calibrate(job):
            tell(line)
    except library.LibraryChanged as error:
        tell({"error": "EngineFailed", "message": f"Nothing was calibrated: {error}."})
        return EXIT_REFUSED
    except Refused as error:
        tell({"error": "BadWeights", "message": str(error)})
        return EXIT_REFUSED
    except OSError as error:
        tell({"error": "DiskFull", "message": f"It cannot be kept: {error.strerror or error}."})
        return EXIT_REFUSED
    return 0


def calibrate(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    activations = Activations(library.load())
    network = Network(job, on_tensor=activations.callback)
    for number, tokens in enumerate(job["windows"]):
        try:
            network.read(tokens)
        except Refused:
            if activations.failure is None:
                raise
        if activations.failure is not None:
            raise activations.failure
        yield {"window": number}
    write_importance(
        Path(job["target"]),
        activations.sums,
        activations.counts,
        title=job["title"],
        num_chunks=len(job["windows"]),
        chunk_tokens=job["context_tokens"],
    )
    yield {"entries": len(activations.sums)}


if __name__ == "__main__":
    sys.exit(main())
