"""`hearth evaluate`: how often a model's code does what it should."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codehearth.cli.options import json_option, settings_options
from codehearth.cli.output import print_data, print_json, print_table, say, tell_warning
from codehearth.errors import InvalidRequest
from codehearth.settings import Settings, read_settings

if TYPE_CHECKING:
    from codehearth.lab.evaluation.asking import Sampling
    from codehearth.lab.evaluation.evaluate import Options
    from codehearth.lab.evaluation.result import Evaluation, ModelScore
    from codehearth.lab.evaluation.tasks import Mode, Suite
    from codehearth.lab.sandbox import Protection

_MAX_MODELS = 16


@click.command()
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option(
    "--suite",
    default="tasks",
    show_default=True,
    metavar="SUITE",
    help="tasks (our own), humaneval, fim, or a file in HumanEval's format (.jsonl, .jsonl.gz).",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="For fim: the code from which lines are taken. Default: this folder.",
)
@click.option("-k", "ks", default="1", show_default=True, metavar="K,...", help="Which pass@k.")
@click.option(
    "-n",
    "num_answers",
    type=click.IntRange(1),
    metavar="N",
    help="Answers to each task. Default: the greatest k.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N tasks.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 2),
    metavar="0..2",
    help="Default: 0 for one answer a task, 0.8 for more.",
)
@click.option("--top-p", type=click.FloatRange(0, 1), default=0.95, show_default=True)
@click.option("--max-tokens", type=click.IntRange(1, 32768), default=512, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N")
@click.option(
    "--mode",
    type=click.Choice(["auto", "chat", "completion"]),
    default="auto",
    show_default=True,
    help="Whether the model is asked, or goes on from the function's head.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(0.5, 120),
    default=10.0,
    show_default=True,
    metavar="S",
    help="For each answer's tests.",
)
@click.option("--parallel", type=click.IntRange(1, 64), default=4, show_default=True, metavar="N")
@click.option(
    "--unprotected",
    is_flag=True,
    help="Run the code with this user's rights, in no sandbox.",
)
@click.option(
    "--compare",
    type=(click.Path(path_type=Path), click.Path(path_type=Path)),
    metavar="A.json B.json",
    help="Tell what changed between two evaluations, and evaluate nothing.",
)
@settings_options("data")
@json_option
def evaluate(
    models: tuple[str, ...],
    suite: str,
    folder: Path | None,
    ks: str,
    num_answers: int | None,
    limit: int | None,
    temperature: float | None,
    top_p: float,
    max_tokens: int,
    seed: int,
    mode: str,
    time_limit: float,
    parallel: int,
    unprotected: bool,
    compare: tuple[Path, Path] | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Measure how often a model's code passes its tests.

    \b
      hearth evaluate starter
      hearth evaluate qwen2.5-coder:7b --suite humaneval -k 1,10 -n 20
      hearth evaluate starter --suite fim --folder src
      hearth evaluate --compare before.json after.json

    Answers come through the served API, their code runs in the sandbox. What was answered is kept:
    the same command goes on where it was stopped. Of several models the first named is compared
    with each other one.
    """
    if compare is not None:
        if models:
            raise click.UsageError("--compare takes two files and no model.")
        _compare(*compare, as_json=as_json)
        return
    from codehearth.lab.evaluation.evaluate import Options
    from codehearth.lab.evaluation.report import FOLDER
    from codehearth.lab.sandbox import Limits, require_protection

    if not 1 <= len(models) <= _MAX_MODELS:
        raise InvalidRequest("No model is named.", hint="`hearth ls` lists what is here")
    wanted = _ks(ks)
    count = num_answers or max(wanted)
    sampling = _sampling(count, temperature, top_p, max_tokens, seed)
    settings = read_settings(flags=flags)
    protection = require_protection(is_unprotected=unprotected)
    if unprotected:
        tell_warning("the code runs unprotected, with this user's rights")
    options = Options(
        protection,
        num_answers=count,
        ks=wanted,
        sampling=sampling,
        limits=Limits(time_s=time_limit),
        num_parallel=parallel,
        command=("hearth", *sys.argv[1:]),
    )
    tasks = _suite(suite, folder, limit, seed, protection)
    place = settings.data / "lab" / FOLDER
    result = _evaluated(settings, models, mode, tasks, options, place)
    if as_json:
        print_json(result.as_document())
    else:
        _print(result, place)


def _ks(text: str) -> tuple[int, ...]:
    words = text.replace(",", " ").split()
    if not words or not all(word.isdigit() and int(word) >= 1 for word in words):
        raise InvalidRequest(f"'-k {text}' is no list of whole numbers from 1.", hint="-k 1,10")
    return tuple(sorted({int(word) for word in words}))


def _sampling(
    num_answers: int, temperature: float | None, top_p: float, max_tokens: int, seed: int
) -> Sampling:
    from codehearth.lab.evaluation.asking import Sampling

    if temperature is None:
        temperature = 0.8 if num_answers > 1 else 0.0
    if temperature == 0 and num_answers > 1:
        raise InvalidRequest("At temperature 0 all answers are the same; take -n 1.")
    return Sampling(temperature, top_p, max_tokens, seed)


def _suite(
    name: str, folder: Path | None, limit: int | None, seed: int, protection: Protection
) -> Suite:
    from dataclasses import replace

    from codehearth.lab.evaluation.infilling import MAX_GAPS, fim_suite
    from codehearth.lab.evaluation.suites import named_suite

    if folder is not None and name != "fim":
        raise InvalidRequest("--folder is for --suite fim.")
    if name == "fim":
        return fim_suite(folder or Path.cwd(), max_gaps=limit or MAX_GAPS, seed=seed)
    found = named_suite(name, protection)
    return replace(found, items=found.items[:limit]) if limit else found


def _evaluated(
    settings: Settings,
    models: tuple[str, ...],
    mode: str,
    suite: Suite,
    options: Options,
    folder: Path,
) -> Evaluation:
    from codehearth.cli.measure import shown
    from codehearth.cli.reach import client_of, find_server, found_or_started
    from codehearth.cli.wanted import available
    from codehearth.lab.evaluation.asking import Subject
    from codehearth.lab.evaluation.evaluate import Listener, evaluate
    from codehearth.lab.evaluation.report import keep

    server = find_server(settings)
    names = [available(settings, server, model, yes=False) or model for model in models]
    with (
        found_or_started(settings, server, model=names[0]) as at,
        client_of(at) as client,
        shown() as step,
    ):
        if server is None:  # it has the first as its default, whatever it was called by
            names[0] = client.default_model() or names[0]
        subjects = [Subject(name, _mode(name, mode)) for name in names]
        result = evaluate(client, subjects, suite, options, folder, Listener(say, step))
    return keep(result, folder)


def _mode(model: str, wanted: str) -> Mode:
    from codehearth.cli.answering import is_base_model

    if wanted == "auto":
        return "completion" if is_base_model(model) else "chat"
    return "chat" if wanted == "chat" else "completion"


def _print(result: Evaluation, place: Path) -> None:
    """Figures as data; where the files lie, beside them."""
    from codehearth.lab.evaluation.report import methods

    _print_figures(result)
    _print_endings(result)
    _print_differences(result)
    kinds = {"wilson": "Wilson's over tasks", "bootstrap": "a bootstrap over tasks"}
    told = " or ".join(kinds[one] for one in sorted(methods(result)))
    print_data(f"\nin brackets: 95 % interval, {told}")
    say("")
    say(f"result: {place / (result.id + '.json')}")
    if result.files is not None:
        say(f"report: {place / result.files.report}")


def _print_figures(result: Evaluation) -> None:
    from codehearth.lab.evaluation.result import figure_name

    ks = sorted({at.k for one in result.models for at in one.pass_at})
    names = [figure_name(k, is_fim=result.suite.is_fim) for k in ks]
    extra = ["edit similarity"] if result.suite.is_fim else []
    print_table(
        [name.upper() for name in ("model", "as", *names, *extra)],
        (_cells(one, ks) for one in result.models),
    )


def _cells(one: ModelScore, ks: list[int]) -> list[str]:
    from codehearth.lab.evaluation.report import share, similarity

    cells = [one.model, one.mode]
    cells += [share(at.interval) if (at := one.at(k)) else "" for k in ks]
    return [*cells, *([similarity(one.similarity)] if one.similarity is not None else [])]


def _print_endings(result: Evaluation) -> None:
    from codehearth.lab.evaluation.report import by_language, share
    from codehearth.lab.evaluation.result import figure_name

    figure = figure_name(1, is_fim=result.suite.is_fim)
    for one, languages in zip(result.models, by_language(result), strict=True):
        print_data("")
        told = ", ".join(f"{group} {count}" for group, count in one.groups.items())
        print_data(f"{one.model}: {told} (of {sum(one.groups.values())} answers)")
        if languages:
            told = ", ".join(f"{name} {share(at.interval)}" for name, at in languages.items())
            print_data(f"{figure} by language: {told}")


def _print_differences(result: Evaluation) -> None:
    from codehearth.lab.evaluation.comparison import compare_scores

    for one in result.models[1:]:
        pair = compare_scores(result.models[0], one, seed=result.sampling.seed)
        for change in pair.changes if pair else ():
            verdict = change.difference.verdict
            print_data(f"{one.model} against {result.models[0].model}, {change.figure}: {verdict}")


def _compare(first: Path, second: Path, *, as_json: bool) -> None:
    from codehearth.lab.evaluation.comparison import compared
    from codehearth.lab.evaluation.result import read_evaluation

    comparison = compared(read_evaluation(first), read_evaluation(second))
    if as_json:
        print_json(comparison.as_document())
        return
    for line in comparison.lines():
        print_data(line)
