"""Reading a text for its loss against `llama-perplexity --kl-divergence`.

    python -m benchmarks.measure [--tools FOLDER] [--rounds 3] [--threads 2] [--shape 0.5b]
        [--windows 20]

The starter and its Q4_K_M (with --shape 0.5b random weights in the sizes of Qwen2.5-0.5B, 151,936
tokens among them, as Q8_0 and Q4_K_M) read the same windows, both programs in turn and with the
same number of threads that spin for as long; medians of time (and of the processors' time, which
other programs disturb less), and perplexity and mean KL of both are printed with their ratios.
`llama-perplexity` is looked for in FOLDER and on PATH; without it only our own figures are printed.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path

from benchmarks.measuring import machine, median
from benchmarks.quantize import quantise
from codehearth.engines.threads import child_environment
from codehearth.lab import scoring, statistics
from codehearth.lab.checkpoint_source import checkpoint_source
from codehearth.lab.keeping import kept
from codehearth.lab.layout import layout
from codehearth.lab.mixture import recipe_of
from codehearth.lab.quantize import run
from codehearth.lab.texts import packaged_text
from codehearth.models.made import Made, MadeModel
from codehearth.models.pull import free_bytes_at
from tests.lab.checkpoints import Sizes, make_checkpoint
from tests.tiny_models import vocabulary

CONTEXT = 512
STARTER = Path(str(resources.files("codehearth.data"))) / "starter.gguf"


Figures = tuple[float, float, float, float]
"""Seconds, perplexity, mean KL, seconds of the processors."""


def cpu_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", default="", help="where llama-perplexity is, beside PATH")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shape", choices=("starter", "0.5b"), default="starter")
    parser.add_argument("--windows", type=int, default=20)
    asked = parser.parse_args()
    places = os.pathsep.join(filter(None, (asked.tools, os.environ.get("PATH", ""))))
    native = shutil.which("llama-perplexity", path=places)
    print(machine())
    with tempfile.TemporaryDirectory(prefix="hearth-benchmark-") as name:
        folder = Path(name)
        large = STARTER if asked.shape == "starter" else random_half_billion(folder)
        quantise(large, "q4_k_m", folder)
        small = folder / "made" / "m-q4_k_m.gguf"
        tokens, num_tokens = scoring.tokenize(large, packaged_text().content)
        windows = scoring.cut(
            tokens[: asked.windows * CONTEXT],
            vocabulary_size=num_tokens,
            context_tokens=CONTEXT,
            max_windows=asked.windows,
            num_prompts=1,
        )
        files = large, small
        text = folder / "text"
        text.write_text(packaged_text().content)
        ours: list[Figures] = []
        theirs: list[Figures] = []
        for _ in range(asked.rounds):
            ours.append(read(files, windows, folder, asked.threads))
            if native is not None:
                theirs.append(their_own(native, files, folder, asked.windows, asked.threads))
        tell(ours, theirs, 2 * len(windows.windows) * CONTEXT)


def random_half_billion(folder: Path) -> Path:
    """Random weights in Q8_0, as large and as many as those of Qwen2.5-0.5B."""
    config = {"tie_word_embeddings": True, "max_position_embeddings": 32768}
    sizes = Sizes(
        hidden=896, layers=24, heads=14, kv_heads=2, forward=4864, config=config,
        extra_rows=151_936 - len(vocabulary()[0]),
    )  # fmt: skip
    make_checkpoint(folder / "random", sizes=sizes)
    source = checkpoint_source(folder / "random", name="random")
    made = run(
        layout(source, recipe_of("q8_0")), Made(folder / "large"), MadeModel("m", "q8_0"),
        num_threads=2, free_bytes=free_bytes_at, progress=lambda _: None,
    )  # fmt: skip
    shutil.rmtree(folder / "random")
    return made.path


def read(
    files: tuple[Path, Path], windows: scoring.Windows, folder: Path, num_threads: int
) -> Figures:
    """By our own children, without what the reference program does not do."""
    windows = replace(windows, prompts=())
    started, cpu = time.perf_counter(), cpu_of_children_s()
    with kept(windows, files[0].name, folder, free_bytes_at) as keeping:
        for path in files:
            found = scoring.score(
                path,
                windows,
                keeping.logits,
                is_reference=path == files[0],
                num_threads=num_threads,
                done=lambda _: None,
            )
    took = time.perf_counter() - started
    spent = cpu_of_children_s() - cpu
    return took, statistics.perplexity(found.nll).value, statistics.mean(found.kl), spent


def their_own(
    native: str, files: tuple[Path, Path], folder: Path, num_windows: int, num_threads: int
) -> Figures:
    kept = folder / "logits"
    common = ["-f", folder / "text", "-c", CONTEXT, "-b", CONTEXT, "--chunks", num_windows,
              "-t", num_threads, "--kl-divergence-base", kept]  # fmt: skip
    started, cpu = time.perf_counter(), cpu_of_children_s()
    called(native, "-m", files[0], *common)
    said = called(native, "-m", files[1], *common, "--kl-divergence")
    took = time.perf_counter() - started
    perplexity = number(said, r"Mean PPL\(Q\)\s*:\s*([\d.]+)")
    kl = number(said, r"Mean\s+KLD:\s*([\d.]+)")
    return took, perplexity, kl, cpu_of_children_s() - cpu


def tell(ours: list[Figures], theirs: list[Figures], num_tokens: int) -> None:
    for name, found in (("ours", ours), ("llama-perplexity", theirs)):
        if found:
            took = median([one[0] for one in found])
            print(
                f"{name}: {took:.2f} s ({median([one[3] for one in found]):.1f} s of processors), "
                f"{num_tokens / took:.0f} tokens/s, "
                f"perplexity {found[0][1]:.4f}, KL {found[0][2]:.6f}"
            )
    if not theirs:
        print("llama-perplexity is not there: no ratio")
        return
    time_ratio, cpu_ratio = (
        median([one[index] for one in ours]) / median([one[index] for one in theirs])
        for index in (0, 3)
    )
    print(
        f"ratios (ours / theirs): time {time_ratio:.2f} (goal 1.3), processors' time "
        f"{cpu_ratio:.2f}, perplexity "
        f"{ours[0][1] / theirs[0][1]:.5f} (goal within 0.001), "
        f"KL {ours[0][2] / theirs[0][2]:.4f} (within 0.02)"
    )


def called(*argv: object) -> str:
    words = [str(part) for part in argv]
    environment = child_environment(os.environ)
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    return done.stdout + done.stderr


def number(said: str, pattern: str) -> float:
    found = re.search(pattern, said)
    return float(found[1]) if found else float("nan")


if __name__ == "__main__":
    main()
