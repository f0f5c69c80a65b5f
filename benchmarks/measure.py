"""Reading a text for its loss against `llama-perplexity --kl-divergence`.

    python -m benchmarks.measure [--tools FOLDER] [--rounds 3] [--threads 2] [--shape 0.5b]
        [--windows 20]

The starter and its Q4_K_M (with --shape 0.5b random weights in the sizes of Qwen2.5-0.5B, 151,936
tokens among them, as Q8_0 and Q4_K_M) read the same windows: by the wheel's library, by the library
that the reference program computes with, and by that program, in turns and with the same number of
threads that spin for as long. Medians of time (and of the processors' time, which other programs
disturb less), and perplexity and mean KL of each are printed with their ratios.

`llama-perplexity` is looked for in FOLDER (`bin` of what `hearth engines install llamacpp-native`
has made) and on PATH, its library beside it; without them only our own figures are printed.
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
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Figures:
    """Seconds and seconds of the processors of both files; perplexity and KL of the second."""

    took_s: float
    cpu_s: float
    perplexity: float
    kl: float


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
        libraries = {"wheel": scoring.WHEEL}
        if native is not None and (path := library_of(Path(native))) is not None:
            libraries["same build"] = scoring.Library("llamacpp-native", path=path)
        ours: dict[str, list[Figures]] = {name: [] for name in libraries}
        theirs: list[Figures] = []
        for _ in range(asked.rounds):
            for name, library in libraries.items():
                ours[name].append(read(files, windows, library, folder, asked.threads))
            if native is not None:
                theirs.append(their_own(native, files, folder, asked.windows, asked.threads))
        tell(ours, theirs, 2 * len(windows.windows) * CONTEXT)


def library_of(program: Path) -> Path | None:
    """What a program of llama.cpp computes with: beside it, or in the `lib` of its environment."""
    folders = (program.resolve().parent, program.resolve().parent.parent / "lib")
    names = ("libllama.so", "libllama.dylib")
    places = (folder / name for folder in folders for name in names)
    return next((place for place in places if place.exists()), None)


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
    files: tuple[Path, Path],
    windows: scoring.Windows,
    library: scoring.Library,
    folder: Path,
    num_threads: int,
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
                library=library,
            )
    took = time.perf_counter() - started
    spent = cpu_of_children_s() - cpu
    return Figures(took, spent, statistics.perplexity(found.nll).value, statistics.mean(found.kl))


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
    return Figures(took, cpu_of_children_s() - cpu, perplexity, kl)


def tell(ours: dict[str, list[Figures]], theirs: list[Figures], num_tokens: int) -> None:
    for name, found in (*ours.items(), ("llama-perplexity", theirs)):
        if found:
            took, cpu = (sorted(getattr(one, of) for one in found) for of in ("took_s", "cpu_s"))
            print(
                f"{name}: {median(took):.2f} s, {median(cpu):.2f} s of processors "
                f"({cpu[0]:.2f} to {cpu[-1]:.2f}), "
                f"{num_tokens / median(took):.0f} tokens/s, perplexity {found[0].perplexity:.4f}, "
                f"KL {found[0].kl:.6f}"
            )
    if not theirs:
        print("llama-perplexity is not there: no ratio")
    for name, found in ours.items() if theirs else ():
        time_ratio, cpu_ratio = (
            median([getattr(one, of) for one in found])
            / median([getattr(one, of) for one in theirs])
            for of in ("took_s", "cpu_s")
        )
        print(
            f"{name} / llama-perplexity: time {time_ratio:.2f} (goal 1.3), processors' time "
            f"{cpu_ratio:.2f}, perplexity {found[0].perplexity / theirs[0].perplexity:.5f} (goal "
            f"within 0.001), KL {found[0].kl / theirs[0].kl:.4f} (within 0.02)"
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
