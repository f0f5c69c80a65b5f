"""Reading a text for its loss against `llama-perplexity`, where that is on PATH.

    python -m benchmarks.measure

The starter and its Q4_K_M read the same windows; time, perplexity and mean KL of both programs are
printed with their ratios. Without `llama-perplexity` only our own figures are printed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from importlib import resources
from pathlib import Path

from benchmarks.measuring import machine
from benchmarks.quantize import quantise
from codehearth.lab import scoring, statistics
from codehearth.lab.texts import packaged_text
from codehearth.models.pull import free_bytes_at

WINDOWS, CONTEXT = 20, 512
STARTER = Path(str(resources.files("codehearth.data"))) / "starter.gguf"


def main() -> None:
    native = shutil.which("llama-perplexity")
    print(machine())
    with tempfile.TemporaryDirectory(prefix="hearth-benchmark-") as name:
        folder = Path(name)
        quantise(STARTER, "q4_k_m", folder)
        small = folder / "made" / "m-q4_k_m.gguf"
        tokens, vocabulary = scoring.tokenize(STARTER, packaged_text().content)
        windows = scoring.cut(
            tokens[: WINDOWS * CONTEXT],
            vocabulary_size=vocabulary,
            context_tokens=CONTEXT,
            max_windows=WINDOWS,
            num_prompts=1,
        )
        ours = read(small, windows, folder)
        if native is None:
            print("llama-perplexity is not on PATH: no ratio")
        else:
            compare(ours, native, small, folder)


def read(small: Path, windows: scoring.Windows, folder: Path) -> tuple[float, float, float]:
    """Seconds, perplexity and mean KL of our own children."""
    started = time.perf_counter()
    with scoring.kept_logits(windows, folder, free_bytes_at) as logits:
        for path in (STARTER, small):
            found = scoring.score(
                path,
                windows,
                logits,
                is_reference=path == STARTER,
                num_threads=2,
                done=lambda _: None,
            )
    took = time.perf_counter() - started
    perplexity, kl = statistics.perplexity(found.nll).value, statistics.mean(found.kl)
    count = 2 * len(windows.windows) * windows.context_tokens
    print(
        f"ours: {took:.2f} s, {count / took:.0f} tokens/s, perplexity {perplexity:.4f}, KL {kl:.6f}"
    )
    return took, perplexity, kl


def compare(ours: tuple[float, float, float], native: str, small: Path, folder: Path) -> None:
    text, kept = folder / "text", folder / "logits"
    text.write_text(packaged_text().content)
    common = ["-f", text, "-c", str(CONTEXT), "-b", str(CONTEXT), "--chunks", str(WINDOWS),
              "-t", "2", "--kl-divergence-base", kept]  # fmt: skip
    started = time.perf_counter()
    run(native, "-m", STARTER, *common)
    said = run(native, "-m", small, *common, "--kl-divergence")
    took = time.perf_counter() - started
    perplexity = number(said, r"Mean PPL\(Q\)\s*:\s*([\d.]+)")
    kl = number(said, r"Mean\s+KLD:\s*([\d.]+)")
    print(f"llama-perplexity: {took:.2f} s, perplexity {perplexity:.4f}, KL {kl:.6f}")
    print(
        f"ratios (ours / theirs): time {ours[0] / took:.2f} (goal 1.3), perplexity "
        f"{ours[1] / perplexity:.5f} (goal within 0.001), KL {ours[2] / kl:.4f} (within 0.02)"
    )


def run(*argv: object) -> str:
    done = subprocess.run([str(part) for part in argv], check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def number(said: str, pattern: str) -> float:
    found = re.search(pattern, said)
    return float(found[1]) if found else float("nan")


if __name__ == "__main__":
    main()
