"""`hearth measure`: what each precision of a model costs on this machine, and what it loses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codehearth.cli.fit import TokensType
from codehearth.cli.options import json_option, model_argument, settings_options
from codehearth.cli.output import (
    on_both,
    print_data,
    print_json,
    print_table,
    say,
    size,
    tell_warning,
)
from codehearth.cli.progress import Pace, is_watched, share_bar
from codehearth.errors import InvalidRequest
from codehearth.settings import Settings, read_settings

if TYPE_CHECKING:
    from codehearth.lab.result import Interval, Precision, Result


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
@click.option(
    "--pass-at-1/--no-pass-at-1",
    default=None,
    help="Whether each precision solves tasks, run in the sandbox. Default: where it is quick.",
)
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
    pass_at_1: bool | None,
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

        with shown() as step:
            measure_engines(settings, model, engines, precisions, step=step, as_json=as_json)
        return
    wanted = tuple(precisions.replace(",", " ").split()) if precisions is not None else None
    result = _measured(settings, model, wanted, text_file, context, seed, pass_at_1)
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
    pass_at_1: bool | None,
) -> Result:
    from codehearth.cli.shelf import store_of
    from codehearth.engines import transformers_at
    from codehearth.gateway.choosing import environments_of
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
        pass_at_1="auto" if pass_at_1 is None else "always" if pass_at_1 else "never",
        command=("hearth", *sys.argv[1:]),
    )
    folder = settings.data / "lab"
    place = Place(store.made, folder, free_bytes_at, transformers_at(environments_of(settings)))
    try:
        with shown() as step:
            result = run(options, place, snapshot(), Listener(say=say, step=step))
    except KeyboardInterrupt:
        say("\nStopped. What was made and read is kept; the same command goes on from there.")
        raise
    return keep(result, folder)


def _print(result: Result) -> None:
    headings = ("PRECISION", "SIZE", "BITS", "MEMORY", "LOAD", "FIRST TOKEN", "READ", "WRITE",
                "WRITE x8", "PERPLEXITY", "KL", "KL 99 %", "SAME TOKEN", "PASS@1")  # fmt: skip
    print_table(headings, [(result.label_of(one), *_cells(one)) for one in result.precisions])
    print_data(
        "\nread, write: tokens/s of one request, and of 8 together; KL: mean divergence from "
        f"{result.reference} in nats; same token: how often the likeliest one is the same"
    )
    for one in result.published:
        print_data(
            f"published, not measured here: {one.benchmark} {one.metric} {one.value:g} at "
            f"{one.precision} ({one.source})"
        )
    for missing in result.not_measured:
        hint = f" ({missing.hint})" if missing.hint else ""
        say(f"{missing.precision} was not measured: {missing.reason}{hint}")


def _cells(one: Precision) -> tuple[str, ...]:
    alone, many, loss = one.at(1), one.at(8), one.loss
    kl, same = loss.kl, loss.top_1_agreement
    return (
        size(one.file.num_bytes),
        f"{one.bits_per_weight:.2f}",
        on_both(one.memory.peak_bytes, one.memory.gpu_peak_bytes),
        f"{one.load_s.median:.2f} s",
        f"{1000 * one.ttft_s.median:.0f} ms",
        f"{alone.prefill_tokens_per_s.median:.0f}" if alone else "",
        f"{alone.decode_tokens_per_s.median:.0f}" if alone else "",
        f"{many.decode_tokens_per_s.median:.0f}" if many else "",
        f"{loss.perplexity.value:.2f} ±{loss.perplexity.standard_error:.2f}",
        f"{kl.mean.value:.4f} ±{(kl.mean.high - kl.mean.low) / 2:.4f}" if kl else "reference",
        f"{kl.p99.value:.3f}" if kl else "",
        f"{100 * same.value:.1f} %" if same else "",
        _within(one.pass_at_1),
    )


def _within(value: Interval | None) -> str:
    if value is None:
        return ""
    return f"{100 * value.value:.0f} % ({100 * value.low:.0f} to {100 * value.high:.0f})"


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
def shown() -> Iterator[Callable[[str, float], None]]:
    """A bar where somebody watches, a line now and then where not."""
    if not is_watched():
        yield _Lines()
        return
    with share_bar("looking") as bar:
        yield lambda what, share: bar.show(what, share, 1.0)


class _Lines:
    """Each stage once, and at most one line every ten seconds."""

    def __init__(self) -> None:
        self._pace = Pace()

    def __call__(self, what: str, share: float) -> None:
        # What is timed changes with every turn: all turns are one stage.
        if self._pace.is_due("timing" if what.startswith("timing") else what):
            say(f"{what}: {100 * share:.0f} %")
