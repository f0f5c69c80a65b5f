"""Quantising against `llama-quantize`, where that is on PATH: speed, memory, and the same bytes.

    python -m benchmarks.quantize [MILLIONS OF PARAMETERS]

A random Qwen2 in F16 goes to Q8_0 and Q4_K_M, three times each in turn, on all cores. Without
`llama-quantize` (build llama.cpp, or install it with your package manager) only our own figures
are printed.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gguf

from benchmarks.measuring import machine, median
from codehearth.lab.layout import layout
from codehearth.lab.mixture import recipe_of
from codehearth.lab.quantize import run
from codehearth.lab.source import gguf_source
from codehearth.models.made import Made, MadeModel
from codehearth.models.pull import free_bytes_at
from tests.tiny_models import Shape, make_gguf

ROUNDS = 3
PRECISIONS = ("q8_0", "q4_k_m")


def main() -> None:
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    native = shutil.which("llama-quantize")
    print(machine())
    with tempfile.TemporaryDirectory(prefix="hearth-benchmark-") as folder:
        source = make_gguf(Path(folder) / "source.gguf", shape_of(millions))
        megabytes = source.stat().st_size / 1e6
        print(f"source: F16, {megabytes:.0f} MB")
        for precision in PRECISIONS:
            compare(source, precision, Path(folder), native, megabytes)
    if native is None:
        print("llama-quantize is not on PATH: no ratio")
    kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"largest child: {kib / 1024:.0f} MiB of memory")


def shape_of(millions: int) -> Shape:
    """Layers of 7.1 million parameters each, as wide as Qwen2's."""
    return Shape(
        num_layers=max(2, millions // 7), embedding_size=768, num_heads=12, num_kv_heads=2,
        head_size=64, feed_forward_size=2560, vocabulary_size=8192,
    )  # fmt: skip


def compare(
    source: Path, precision: str, folder: Path, native: str | None, megabytes: float
) -> None:
    ours, theirs = [], []
    mine, other = folder / "made" / f"m-{precision}.gguf", folder / f"native-{precision}.gguf"
    for _ in range(ROUNDS):
        ours.append(seconds(lambda: quantise(source, precision, folder)))
        if native is not None:
            theirs.append(seconds(lambda: call(native, source, other, precision)))
    print(f"{precision}: {megabytes / median(ours):.0f} MB/s of source ({median(ours):.2f} s)")
    if native is not None:
        same = equal_tensors(mine, other)
        print(
            f"{precision}: llama-quantize {megabytes / median(theirs):.0f} MB/s; "
            f"ratio {median(theirs) / median(ours):.2f} (ours / theirs, goal 0.5); "
            f"{same} of {len(gguf.GGUFReader(mine).tensors)} tensors have the same bytes"
        )


def quantise(source: Path, precision: str, folder: Path) -> None:
    made, model = Made(folder / "made"), MadeModel("m", precision)
    made.remove(model)
    run(
        layout(gguf_source(source), recipe_of(precision)),
        made,
        model,
        num_threads=os.cpu_count() or 1,
        free_bytes=free_bytes_at,
        progress=lambda _: None,
    )


def call(native: str, source: Path, target: Path, precision: str) -> None:
    subprocess.run([native, source, target, precision.upper()], check=True, capture_output=True)


def equal_tensors(mine: Path, other: Path) -> int:
    theirs = {tensor.name: tensor.data.tobytes() for tensor in gguf.GGUFReader(other).tensors}
    tensors = gguf.GGUFReader(mine).tensors
    return sum(theirs.get(tensor.name) == tensor.data.tobytes() for tensor in tensors)


def seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
