"""`hearth parity`: whether two engines, precisions or versions of a model give the same answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from codehearth.cli.options import json_option, model_argument, settings_options
from codehearth.cli.output import print_data, print_json, print_table, say
from codehearth.settings import Settings, read_settings

if TYPE_CHECKING:
    from codehearth.lab.parity import Parity, PromptParity

_EXIT_DIFFERENT = 1


@click.command()
@model_argument()
@click.argument("other", required=False)
@click.option(
    "--engines",
    metavar="ENGINES",
    help="Engines to compare, separated by commas. Default: all that load the model here.",
)
@click.option(
    "--precisions", metavar="PRECISIONS", help="Precisions to compare, separated by commas."
)
@settings_options("threads", "llama_server", "data")
@json_option
def parity(
    model: str,
    other: str | None,
    engines: str | None,
    precisions: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Check that engines or precisions answer alike.

    The same prompts (chat in English and Chinese, completion, infilling) are read and answered by
    each side, as the real engine: the first one is the reference. Their tokens, the likeliest
    answers and the log-probabilities are compared, and a wrong template, a text that begins twice
    or an end that does not end is named as such. OTHER is another model to compare: a merged one,
    or one in another format. Exit code 1: they are not the same.

    \b
        hearth parity starter --engines llama.cpp,transformers
        hearth parity qwen2.5-coder:7b --precisions q8_0,q4_k_m
        hearth parity ./merged ./merged.gguf
    """
    found = _compared(read_settings(flags=flags), (model, other), engines, precisions)
    if as_json:
        print_json([one.as_document() for one in found])
    else:
        for one in found:
            _print(one)
    if not all(one.is_same for one in found):
        raise click.exceptions.Exit(_EXIT_DIFFERENT)


def _compared(
    settings: Settings, models: tuple[str, str | None], engines: str | None, precisions: str | None
) -> tuple[Parity, ...]:
    from codehearth.cli.shelf import store_of
    from codehearth.gateway.choosing import environments_of
    from codehearth.lab.parity import compare_all
    from codehearth.lab.parity.sides import Bench, sides_of
    from codehearth.models.hardware import snapshot

    bench = Bench(
        store=store_of(settings),
        hardware=snapshot(),
        environments=environments_of(settings),
        llama_server=settings.llama_server,
        num_threads=settings.threads or None,
    )
    named = tuple(name for name in models if name is not None)
    reference, *others = sides_of(bench, named, _words(engines), _words(precisions), say=say)
    return compare_all(reference, others, step=say)


def _words(text: str | None) -> tuple[str, ...]:
    return tuple((text or "").replace(",", " ").split())


def _print(found: Parity) -> None:
    verdict = "the same" if found.is_same else "not the same"
    print_data(f"\n{found.other} against {found.reference}: {verdict}\n")
    headings = ("PROMPT", "TOKENS", "SAME PROMPT", "SAME TOKEN", "MEAN DIFFERENCE", "GREATEST")
    print_table(headings, map(_cells, found.prompts))
    for finding in found.findings:
        where = f"{finding.prompt}: " if finding.prompt else ""
        print_data(f"- {'' if finding.is_wrong else 'note: '}{where}{finding.message}")
    print_data(
        f"\ndifference: of log-probabilities, in nats; {found.allowed:g} in the mean are allowed "
        "between these precisions"
    )


def _cells(one: PromptParity) -> tuple[str, ...]:
    first, second = one.num_tokens
    is_same = {True: "yes", False: "no", None: "unknown"}[one.is_same_prompt]
    known = one.mean_difference is not None and one.max_difference is not None
    return (
        one.title,
        str(first) if first == second else f"{first} and {second}",
        is_same,
        f"{one.num_same} of {one.num_compared}",
        f"{one.mean_difference:.4f}" if known else "unknown",
        f"{one.max_difference:.4f}" if known else "unknown",
    )
