"""A measurement for people: a table in Markdown, beside its plots; and all of it onto disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from codehearth.errors import DiskFull
from codehearth.lab import drawing, plots
from codehearth.lab.figures import Figure
from codehearth.lab.result import Files, Interval, Plot, Precision, Result, Sample
from codehearth.models.whole_file import write_whole

_SPEED_HEADINGS = (
    "precision", "load s", "first token ms", "read 1", "write 1", "read 8", "write 8",
    "memory MB", "predicted MB",
)  # fmt: skip


def keep(result: Result, folder: Path) -> Result:
    """Writes plots, report and, last, the JSON; the result with the names of its files."""
    place = folder / result.id
    try:
        place.mkdir(parents=True, exist_ok=True)
        drawn = tuple(draw(figure, place) for figure in plots.figures(result))
        kept = replace(result, files=Files(f"{result.id}/report.md", drawn))
        write_whole(place / "report.md", markdown(kept))
        document = json.dumps(kept.as_document(), ensure_ascii=False, indent=1)
        write_whole(folder / f"{result.id}.json", document + "\n")
    except OSError as error:
        raise DiskFull(f"The result cannot be written ({error.strerror}).") from error
    return kept


def draw(figure: Figure, place: Path) -> Plot:
    write_whole(place / f"{figure.name}.svg", drawing.svg(figure))
    has_png = drawing.png(figure, place / f"{figure.name}.png")
    return Plot(
        figure.name,
        figure.title,
        f"{place.name}/{figure.name}.svg",
        f"{place.name}/{figure.name}.png" if has_png else None,
    )


def markdown(result: Result) -> str:
    """The report. Its pictures are named relative to the folder it lies in."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Result) -> Iterator[str]:
    yield f"# What the precisions of {result.model.name} cost"
    yield ""
    yield from _setting(result)
    yield ""
    yield from _loss_table(result)
    yield ""
    yield from _speed_table(result)
    yield ""
    yield from _noise(result)
    yield from _published(result)
    for plot in result.files.plots if result.files else ():
        yield f"![{plot.title}]({plot.svg.rpartition('/')[2]})"
        yield ""
    yield from _explanation(result)


def _setting(result: Result) -> Iterator[str]:
    machine, text, timing = result.machine, result.text, result.timing
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    yield (
        f"{result.model.num_parameters / 1e6:.1f} million parameters, architecture "
        f"{result.model.architecture}. {machine['cpu_name']}, {machine['num_cores']:g} cores; "
        f"{timing.engine}, threads: {timing.num_threads}; {versions}. {result.created_at}, "
        f"{result.duration_s:.0f} s."
    )
    yield ""
    yield (
        f"Text: {text.title}, {text.num_windows} windows of {text.context_tokens} tokens, "
        f"{text.num_scored_tokens} scored (sha256 `{text.sha256[:16]}…`). Reference: "
        f"{result.reference}, the model as it was here."
        + (
            f" Read with the library of {result.scoring.library} {result.scoring.version}."
            if result.scoring
            else ""
        )
    )
    for one in result.precisions:
        if one.calibrated_on:
            yield ""
            yield f"{one.precision} was calibrated on {one.calibrated_on}."


def _loss_table(result: Result) -> Iterator[str]:
    yield (
        "| precision | MB | bits/weight | perplexity | Δ log perplexity | mean KL | 99 % KL | "
        "max KL | top 1 | top 5 | same answers | pass@1 |"
    )
    yield "| --- |" + " ---: |" * 11
    for one in result.precisions:
        loss = one.loss
        cells = [
            result.label_of(one),
            f"{one.file.num_bytes / 1e6:.2f}",
            f"{one.bits_per_weight:.2f}",
            f"{loss.perplexity.value:.3f} ± {loss.perplexity.standard_error:.3f}",
        ]
        if loss.kl is None or loss.log_ratio is None:
            cells += ["reference", *[""] * 6]
        else:
            cells += [
                f"{loss.log_ratio.value:+.5f} ± {loss.log_ratio.standard_error:.5f}",
                _interval(loss.kl.mean, 5),
                _interval(loss.kl.p99, 4),
                f"{loss.kl.max:.3f}",
                _share(loss.top_1_agreement),
                _share(loss.top_5_agreement),
                _share(loss.greedy.agreement if loss.greedy else None),
            ]
        cells.append(_share(one.pass_at_1))
        yield f"| {' | '.join(cells)} |"


def _speed_table(result: Result) -> Iterator[str]:
    has_gpu = any(one.memory.gpu_predicted_bytes for one in result.precisions)
    headings = [*_SPEED_HEADINGS, *(("GPU MB", "predicted") if has_gpu else ())]
    yield f"| {' | '.join(headings)} |"
    yield "| --- |" + " ---: |" * (len(headings) - 1)
    for one in result.precisions:
        yield f"| {' | '.join([result.label_of(one), *_speed_cells(one, has_gpu=has_gpu)])} |"


def _speed_cells(one: Precision, *, has_gpu: bool) -> Iterator[str]:
    yield _sample(one.load_s, 2)
    yield _sample(_thousand(one.ttft_s), 1)
    for streams in one.streams:
        yield _sample(streams.prefill_tokens_per_s, 0)
        yield _sample(streams.decode_tokens_per_s, 0)
    yield f"{one.memory.peak_bytes / 1e6:.0f}"
    yield f"{one.memory.predicted_bytes / 1e6:.0f}"
    if has_gpu:
        for held in (one.memory.gpu_peak_bytes, one.memory.gpu_predicted_bytes):
            yield "" if held is None else f"{held / 1e6:.0f}"


def _noise(result: Result) -> Iterator[str]:
    noise = result.noise
    if noise.is_noisy:
        yield f"**The machine was too busy to trust the speeds**: {'; '.join(noise.reasons)}."
    else:
        yield f"Other programs used {noise.other_cores:.2f} cores while speeds were taken."
    yield ""


def _published(result: Result) -> Iterator[str]:
    if not result.published:
        return
    yield "Published by the model's makers, not measured here:"
    yield ""
    for one in result.published:
        yield f"- {one.benchmark} {one.metric}: {one.value:g} at {one.precision} ({one.source})"
    yield ""


def _explanation(result: Result) -> Iterator[str]:
    timing = result.timing
    yield "## What the figures mean"
    yield ""
    yield (
        "- **KL**: how far the distribution of the next token is from the reference's, in nats. "
        "The interval is a 95 % bootstrap over blocks of 64 neighbouring tokens."
    )
    yield (
        "- **Δ log perplexity** is taken token by token against the reference, so text that is "
        "hard for both cancels out; the perplexities' own errors are much larger. Both ± are one "
        "standard error with tokens taken as independent."
    )
    yield (
        "- **top 1, top 5**: how often the likeliest token is the same; which share of the five "
        "likeliest both have. **same answers**: greedy completions equal to the last token "
        "(Wilson's interval)."
    )
    yield (
        f"- **read, write**: tokens per second of 1 and of 8 requests together; median (least to "
        f"greatest) of {timing.num_rounds} interleaved rounds, prompts of {timing.prompt_tokens} "
        f"and answers of {timing.new_tokens} tokens. Memory: all the engine held after 8 requests "
        "at a time."
    )
    if result.tasks is not None:
        yield (
            f"- **pass@1**: of {result.tasks.num_tasks} tasks ({result.tasks.title}) how many one "
            "answer without chance solves, run in the sandbox; Wilson's interval. So few tasks "
            "tell a ruined model from a good one, and hardly a good one from a better one."
        )
    yield (
        "- The loss is counted from the reference. What the reference itself lost against the "
        "model's original weights is not in these figures."
    )


def _interval(value: Interval, digits: int) -> str:
    return f"{value.value:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"


def _share(value: Interval | None) -> str:
    if value is None:
        return ""
    low, high = 100 * value.low, 100 * value.high
    return f"{100 * value.value:.1f} % ({low:.1f} to {high:.1f})"


def _sample(value: Sample, digits: int) -> str:
    return f"{value.median:.{digits}f} ({value.min:.{digits}f} to {value.max:.{digits}f})"


def _thousand(value: Sample) -> Sample:
    return Sample(1000 * value.median, 1000 * value.min, 1000 * value.max)
