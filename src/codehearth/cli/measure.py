"""`hearth measure`: what each precision of a model costs on this machine, and what it loses."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codehearth.cli.fit import TokensType
from codehearth.cli.options import json_option, model_argument, settings_options
from codehearth.cli.output import (
    has_colour,
    print_data,
    print_json,
    print_table,
    say,
    size,
    tell_warning,
)
from codehearth.errors import InvalidRequest
from codehearth.settings import Settings, read_settings

if TYPE_CHECKING:
    from codehearth.lab.result import Precision, Result

_PLAIN_EVERY_S = 10.0


@click.command()
@model_argument(required=False)
@click.option(
    "--precisions",
    metavar="PRECISIONS",
    help="What to compare, separated by commas. Default: the usual ones below the model's own.",
)
@click.option(
    "--engines",
    metavar="ENGINES",
    help="Time these engines with the model, separated by commas, instead of its precisions.",
)
@click.option(
    "--text",
    "text_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The text to read. Default: code of Python's standard library.",
)
@click.option(
    "--context",
    type=TokensType(),
    default=512,
    metavar="TOKENS",
    help="Tokens of a window of the text (512).",
)
@click.option(
    "--compare",
    type=(click.Path(path_type=Path), click.Path(path_type=Path)),
    metavar="A.json B.json",
    help="Tell what changed between two results, and measure nothing.",
)
@click.option("--seed", type=click.IntRange(0), default=0, metavar="N", help="Of the intervals.")
@settings_options("threads", "llama_server", "data")
@json_option
def measure(
    model: str | None,
    precisions: str | None,
    engines: str | None,
    text_file: Path | None,
    context: int,
    compare: tuple[Path, Path] | None,
    seed: int,
    as_json: bool,
    **flags: Any,
) -> None:
    """Measure what each precision of a model costs.

    Size, load time, memory, speed at 1 and 8 requests at a time, perplexity, divergence from the
    model as it is, agreement of its answers, each with its error. Precisions that are missing are
    made. The table is printed; the result, a report and plots are kept.

    With --engines llama.cpp,transformers each engine is timed with the model, as it serves; after
    that the fastest one is taken where no --engine says otherwise.
    """
    if compare is not None:
        _compare(*compare, as_json=as_json)
        return
    if model is None:
        raise InvalidRequest("No model is named.", hint="`hearth ls` lists what is here")
    if not 64 <= context <= 1 << 16:
        raise InvalidRequest(f"A window of {context} tokens cannot be measured; take 64 to 65536.")
    settings = read_settings(flags=flags)
    if engines is not None:
        from codehearth.cli.measure_engines import measure_engines

        with _shown() as step:
            measure_engines(settings, model, engines, precisions, step=step, as_json=as_json)
        return
    wanted = tuple(precisions.replace(",", " ").split()) if precisions is not None else None
    result = _measured(settings, model, wanted, text_file, context, seed)
    if as_json:
        print_json(result.as_document())
        return
    _print(result)
    folder = settings.data / "lab"
    say("")
    for reason in result.noise.reasons:
        tell_warning(f"too noisy to trust the speeds: {reason}")
    say(f"result: {folder / (result.id + '.json')}")
    if result.files is not None:
        say(f"report: {folder / result.files.report}")


def _measured(
    settings: Settings,
    model: str,
    precisions: tuple[str, ...] | None,
    text_file: Path | None,
    context: int,
    seed: int,
) -> Result:
    from codehearth.cli.shelf import store_of
    from codehearth.gateway.opening import environments_of
    from codehearth.lab.candidates import Listener, Place
    from codehearth.lab.measure import Options, run
    from codehearth.lab.report import keep
    from codehearth.lab.texts import packaged_text, text_of_file
    from codehearth.models.hardware import snapshot
    from codehearth.models.pull import free_bytes_at

    store = store_of(settings)
    options = Options(
        model=store.find(model, allow_path=True, runs_code=False),
        text=text_of_file(text_file) if text_file is not None else packaged_text(),
        context_tokens=context,
        precisions=precisions,
        num_threads=settings.threads or None,
        llama_server=settings.llama_server,
        environments=environments_of(settings),
        seed=seed,
        command=("hearth", *sys.argv[1:]),
    )
    folder = settings.data / "lab"
    with _shown() as step:
        result = run(
            options,
            Place(store.made, folder, free_bytes_at),
            snapshot(),
            Listener(say=say, step=step),
        )
    return keep(result, folder)


def _print(result: Result) -> None:
    headings = ("PRECISION", "SIZE", "BITS", "MEMORY", "LOAD", "FIRST TOKEN", "READ", "WRITE",
                "WRITE x8", "PERPLEXITY", "KL", "KL 99 %", "SAME TOKEN")  # fmt: skip
    print_table(headings, map(_cells, result.precisions))
    print_data(
        "\nread, write: tokens/s of one request, and of 8 together; KL: mean divergence from "
        f"{result.reference} in nats; same token: how often the likeliest one is the same"
    )
    for missing in result.not_measured:
        say(f"{missing.precision} was not measured: {missing.reason}")


def _cells(one: Precision) -> tuple[str, ...]:
    alone, many, loss = one.at(1), one.at(8), one.loss
    kl, same = loss.kl, loss.top_1_agreement
    return (
        one.precision,
        size(one.file.num_bytes),
        f"{one.bits_per_weight:.2f}",
        size(one.memory.peak_bytes),
        f"{one.load_s.median:.2f} s",
        f"{1000 * one.ttft_s.median:.0f} ms",
        f"{alone.prefill_tokens_per_s.median:.0f}" if alone else "",
        f"{alone.decode_tokens_per_s.median:.0f}" if alone else "",
        f"{many.decode_tokens_per_s.median:.0f}" if many else "",
        f"{loss.perplexity.value:.2f} ±{loss.perplexity.standard_error:.2f}",
        f"{kl.mean.value:.4f} ±{(kl.mean.high - kl.mean.low) / 2:.4f}" if kl else "reference",
        f"{kl.p99.value:.3f}" if kl else "",
        f"{100 * same.value:.1f} %" if same else "",
    )


def _compare(first: Path, second: Path, *, as_json: bool) -> None:
    from codehearth.lab.comparison import compared
    from codehearth.lab.result import read_result

    comparison = compared(read_result(first), read_result(second))
    if as_json:
        print_json(comparison.as_document())
        return
    for line in comparison.lines():
        print_data(line)


@contextmanager
def _shown() -> Iterator[Callable[[str, float], None]]:
    """A bar where somebody watches, a line now and then where not."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True, no_color=not has_colour(sys.stderr))
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("looking", total=1.0)
        yield lambda what, share: bars.update(task, description=what[:50], completed=share)


class _Lines:
    """Each stage once, and at most one line every ten seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_at = -_PLAIN_EVERY_S
        self._what = ""

    def __call__(self, what: str, share: float) -> None:
        is_due = self._clock() - self._said_at >= _PLAIN_EVERY_S
        if is_due or (what != self._what and not what.startswith("timing")):
            self._what, self._said_at = what, self._clock()
            say(f"{what}: {100 * share:.0f} %")
