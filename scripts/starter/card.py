"""The model card and the loss curve, written from the figures and the training log alone."""

import hashlib
import json
import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gguf import GGUFReader

from .card_texts import BOTTOM, DATA, MEANING, TOP, TRAINING
from .corpus import PackageRecord
from .export import shape_of
from .network import Shape

BY_HAND = ("prefix first", "suffix first")
CURVE_WIDTH, CURVE_HEIGHT, MARGIN = 640, 280, 40


def write(out: Path, gguf: Path, packages: tuple[PackageRecord, ...], folder: Path) -> None:
    """`starter.md` and `starter_curve.svg` in the folder, beside the GGUF file that ships; the
    catalogue's row says its size."""
    figures = json.loads((out / "figures.json").read_text("utf-8"))
    log = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    folder.mkdir(parents=True, exist_ok=True)
    if gguf.resolve() != (folder / "starter.gguf").resolve():
        shutil.copyfile(gguf, folder / "starter.gguf")
    (folder / "starter_curve.svg").write_text(curve(log), encoding="utf-8")
    shape, digest = shape_of(GGUFReader(gguf)), hashlib.sha256(gguf.read_bytes()).hexdigest()
    text = card(figures, log[-1], packages, shape, digest)
    (folder / "starter.md").write_text(text, encoding="utf-8")
    catalogue = folder / "catalogue.toml"
    summary = figures["summary"]
    rows = catalogue_with(catalogue.read_text("utf-8"), summary["parameters"], shape.context)
    catalogue.write_text(rows, encoding="utf-8")


def catalogue_with(text: str, num_parameters: int, context_tokens: int) -> str:
    """The catalogue with the starter's sizes in its row."""
    head, row, rest = text.partition('name = "starter"\n')
    assert row, "the catalogue has no starter"
    rest = re.sub(r"num_parameters = \S+", f"num_parameters = {num_parameters:_}", rest, count=1)
    return (
        head
        + row
        + re.sub(r"context_tokens = \S+", f"context_tokens = {context_tokens}", rest, count=1)
    )


def card(
    figures: dict[str, Any],
    last: dict[str, Any],
    packages: tuple[PackageRecord, ...],
    shape: Shape,
    digest: str,
) -> str:
    summary = figures["summary"]
    parts = (
        _filled(
            TOP,
            millions=f"{summary['parameters'] / 1e6:.1f}",
            megabytes=f"{summary['file_bytes'] / 1e6:.1f}",
            digest=digest,
            shape=shape,
            tasks=summary["taught_tasks"],
        ),
        _figures_table(summary),
        MEANING,
        _filled(
            TRAINING,
            tokens=f"{last['num_tokens'] / 1e6:.0f}",
        ),
        _samples(figures["samples"]),
        BOTTOM,
        DATA,
        _packages_by_licence(packages),
    )
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def curve(log: list[dict[str, Any]]) -> str:
    """The training loss over the tokens as a small SVG; no plotting library."""
    tokens = [line["num_tokens"] for line in log]
    losses = [line["loss"] for line in log]
    low, high = 0.0, max(losses)

    def place(x: float, y: float) -> str:
        across = MARGIN + (CURVE_WIDTH - 2 * MARGIN) * x / tokens[-1]
        down = CURVE_HEIGHT - MARGIN - (CURVE_HEIGHT - 2 * MARGIN) * (y - low) / (high - low)
        return f"{across:.1f},{down:.1f}"

    points = " ".join(place(x, y) for x, y in zip(tokens, losses, strict=True))
    labels = "".join(
        f'<text x="{MARGIN - 6}" y="{place(0, y).split(",")[1]}" text-anchor="end">{y}</text>'
        for y in range(0, int(high) + 1, 2)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT}" '
        f'font-family="sans-serif" font-size="11" fill="#555">'
        f'<rect width="{CURVE_WIDTH}" height="{CURVE_HEIGHT}" fill="#fff"/>'
        f'<polyline points="{points}" fill="none" stroke="#c2410c" stroke-width="1.5"/>{labels}'
        f'<text x="{MARGIN}" y="{MARGIN - 16}">training loss (nats a token) over '
        f"{tokens[-1] / 1e6:.1f} million tokens</text></svg>\n"
    )


def _figures_table(summary: dict[str, Any]) -> str:
    def percent(key: str) -> str:
        return f"{100 * summary[key]:.1f} %"

    rows = (
        (
            "bits per byte, held-out files of the standard library",
            f"{summary['bits_per_byte_standard_library']:.3f}",
        ),
        (
            "bits per byte, the held-out packages",
            f"{summary['bits_per_byte_held_out_packages']:.3f}",
        ),
        ("taught tasks, unseen wordings, English, answer executed", percent("taught_pass_english")),
        ("taught tasks, unseen wordings, Chinese, answer executed", percent("taught_pass_chinese")),
        (
            "the same in phrases that only the end of training showed, English",
            percent("seldom_pass_english"),
        ),
        (
            "the same in phrases that only the end of training showed, Chinese",
            percent("seldom_pass_chinese"),
        ),
        (
            "the same in phrases that training never showed, English",
            percent("paraphrased_pass_english"),
        ),
        (
            "the same in phrases that training never showed, Chinese",
            percent("paraphrased_pass_chinese"),
        ),
        ("answers that stop by themselves", percent("taught_stopped_by_itself")),
        ("unseen requests it cannot answer and declines", percent("unknown_declined")),
        ("greedy function bodies that parse (held-out heads)", percent("bodies_that_parse")),
        *_hidden_line_rows(summary["hidden_lines"]),
        ("pass@1, taught heads and docstrings, temperature 0.8", percent("pass_at_1")),
        ("pass@10, the same", percent("pass_at_10")),
        *_humaneval_rows(summary),
        (
            "llama.cpp, one thread of a busy 2-core machine",
            f"{summary['tokens_per_s']:.0f} tokens/s",
        ),
    )
    table = "| figure | value |\n| --- | --- |\n" + "\n".join(f"| {a} | {b} |" for a, b in rows)
    return f"{table}\n\n¹ as CodeHearth asks / by hand, prefix first / by hand, suffix first"


def _hidden_line_rows(hidden_lines: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A row a source: as CodeHearth asks, then prefix first and suffix first by hand."""
    names = {
        "taught": "taught code",
        "standard_library": "held-out files of the standard library",
        "held_out_packages": "the held-out packages",
    }
    for source, name in names.items():
        found = [hidden_lines[source][order] for order in ("codehearth", *BY_HAND)]
        exact = " / ".join(f"{100 * figures['exact']:.1f} %" for figures in found)
        yield f"one hidden line¹, exact match, {name}", exact
        similarity = " / ".join(f"{figures['similarity']:.2f}" for figures in found)
        yield "the same, edit similarity", similarity


def _humaneval_rows(summary: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    if not summary["humaneval_tasks"]:
        return ()
    return tuple(
        (
            f"HumanEval, {summary['humaneval_tasks']} tasks, pass@{k} at temperature 0.8",
            f"{100 * summary[f'humaneval_pass_at_{k}']:.1f} %",
        )
        for k in (1, 10)
    )


def _filled(template: str, **figures: object) -> str:
    """The template with its figures, each paragraph wrapped anew."""
    paragraphs = template.format(**figures).strip().split("\n\n")
    return "\n\n".join(_wrapped(paragraph) for paragraph in paragraphs)


def _wrapped(paragraph: str) -> str:
    if paragraph.startswith("#"):
        return paragraph
    text = " ".join(paragraph.split())
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _packages_by_licence(packages: tuple[PackageRecord, ...]) -> str:
    """Licences as the packages' own metadata words them, the most common first."""
    by_licence: dict[str, list[str]] = {}
    for package in packages:
        by_licence.setdefault(package.licence, []).append(f"{package.name} {package.version}")
    paragraphs = [
        _wrapped(f"**{licence}**: {', '.join(names)}")
        for licence, names in sorted(by_licence.items(), key=lambda item: -len(item[1]))
    ]
    return "\n\n".join(("**PSF-2.0**: the Python standard library 3.11", *paragraphs))


def _samples(samples: list[dict[str, str]]) -> str:
    shown = "\n\n".join(
        f"**{number}. {sample['kind']}** ({sample['ending']})\n\n````text\n"
        f"{sample['prompt'].rstrip()}\n────────\n{sample['text'].rstrip()}\n````"
        for number, sample in enumerate(samples, 1)
    )
    return (
        "## Ten samples, unedited\n\nGreedy; above the line what was asked, below what came. "
        f"A completion is cut after 96 tokens.\n\n{shown}"
    )
