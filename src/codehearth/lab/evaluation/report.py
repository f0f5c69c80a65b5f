"""An evaluation for people: Markdown and plots beside the JSON; all of it onto disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from codehearth.errors import DiskFull
from codehearth.lab.evaluation.estimator import Count, Method, PassAt, estimate
from codehearth.lab.evaluation.result import Evaluation, ModelScore, figure_name
from codehearth.lab.figures import COLOURS, Axis, Figure, Point, Series
from codehearth.lab.report import draw
from codehearth.lab.result import Files, Interval
from codehearth.models.whole_file import write_whole

FOLDER = "evaluations"
_MAX_FAILURES = 40


def keep(result: Evaluation, folder: Path) -> Evaluation:
    """Writes plots, report and, last, the JSON; the result with the names of its files."""
    place = folder / result.id
    try:
        place.mkdir(parents=True, exist_ok=True)
        drawn = tuple(draw(figure, place) for figure in figures(result))
        kept = replace(result, files=Files(f"{result.id}/report.md", drawn))
        write_whole(place / "report.md", markdown(kept))
        document = json.dumps(kept.as_document(), ensure_ascii=False, indent=1)
        write_whole(folder / f"{result.id}.json", document + "\n")
    except OSError as error:
        raise DiskFull(f"The evaluation cannot be written ({error.strerror}).") from error
    return kept


def figures(result: Evaluation) -> tuple[Figure, ...]:
    """pass@k over k for every model, and how the answers ended."""
    found = []
    if any(len(one.pass_at) > 1 for one in result.models):
        found.append(_by_k(result))
    found.append(_by_group(result))
    return tuple(found)


def _by_k(result: Evaluation) -> Figure:
    series = tuple(
        Series(
            tuple(
                Point(at.k, 100 * at.interval.value,
                      y_range=(100 * at.interval.low, 100 * at.interval.high))
                for at in one.pass_at
            ),
            one.model,
            is_line=True,
            colour=COLOURS[number % len(COLOURS)],
        )
        for number, one in enumerate(result.models)
    )  # fmt: skip
    return Figure(
        "pass_at_k",
        f"{result.suite.title}: pass@k",
        Axis("k"),
        Axis("At least one of k answers passes (%)", starts_at_zero=True),
        series,
        note=f"bars: 95 % interval over {result.suite.num_tasks} tasks",
    )


def _by_group(result: Evaluation) -> Figure:
    """A stalk for each model and kind of ending, the rarest kind first."""
    first = result.models[0].groups
    names = sorted(
        {group for one in result.models for group in one.groups},
        key=lambda name: (first.get(name, 0), name),
    )
    many = len(result.models)
    series = []
    for number, one in enumerate(result.models):
        total = sum(one.groups.values()) or 1
        shift = 0.12 * (number - (many - 1) / 2)
        points = []
        for place, name in enumerate(names, start=1):
            share_of_all = 100 * one.groups.get(name, 0) / total
            told = f"{share_of_all:.0f} %" if many == 1 else ""
            points.append(Point(place + shift, share_of_all, told, y_range=(0.0, share_of_all)))
        colour = COLOURS[number % len(COLOURS)]
        series.append(Series(tuple(points), one.model if many > 1 else "", colour=colour))
    return Figure(
        "endings",
        f"{result.suite.title}: what came of the answers",
        Axis("", names=tuple(names)),
        Axis("Share of all answers (%)", starts_at_zero=True),
        tuple(series),
    )


def markdown(result: Evaluation) -> str:
    """The report. Its pictures are named relative to the folder it lies in."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Evaluation) -> Iterator[str]:
    suite, sampling = result.suite, result.sampling
    yield f"# {', '.join(one.model for one in result.models)} on {suite.title}"
    yield ""
    yield (
        f"{suite.num_tasks} {'gaps' if suite.is_fim else 'tasks'}, answers to each: "
        f"{result.num_answers}; temperature {sampling.temperature:g}, top-p {sampling.top_p:g}, "
        f"at most {sampling.max_tokens} tokens, seed {sampling.seed}. Sandbox: "
        f"{result.protection}, {result.time_limit_s:g} s for each answer. "
        f"{result.created_at}, {result.duration_s:.0f} s. Tasks: sha256 `{suite.sha256[:16]}…`."
    )
    yield ""
    for title, reason in suite.left_out.items():
        yield f"Left out: {title} ({reason})."
        yield ""
    yield from _figures_table(result)
    yield ""
    yield from _languages_table(result)
    yield from _groups_table(result)
    yield ""
    for plot in result.files.plots if result.files else ():
        yield f"![{plot.title}]({plot.svg.rpartition('/')[2]})"
        yield ""
    for one in result.models:
        yield from _failures(one)
    yield from _explanation(result)


def _figures_table(result: Evaluation) -> Iterator[str]:
    ks = sorted({at.k for one in result.models for at in one.pass_at})
    headings = [figure_name(k, is_fim=result.suite.is_fim) for k in ks]
    extra = ["edit similarity"] if result.suite.is_fim else []
    yield f"| model | precision | asked as | {' | '.join([*headings, *extra])} |"
    yield f"| --- | --- | --- |{' ---: |' * (len(ks) + len(extra))}"
    for one in result.models:
        cells = [share(at.interval) if (at := one.at(k)) else "" for k in ks]
        if one.similarity is not None:
            cells.append(similarity(one.similarity))
        yield f"| {one.model} | {one.precision or ''} | {one.mode} | {' | '.join(cells)} |"


def by_language(result: Evaluation) -> list[dict[str, PassAt]]:
    """Of each model pass@1 of each language; empty where the suite has only one."""
    names = dict.fromkeys(task.language for one in result.models for task in one.tasks)
    if len(names) < 2:
        return [{} for _ in result.models]
    return [{name: _in_language(one, name, result) for name in names} for one in result.models]


def _in_language(one: ModelScore, name: str, result: Evaluation) -> PassAt:
    counts = [Count(t.num_answers, t.num_passed) for t in one.tasks if t.language == name]
    return estimate(counts, 1, seed=result.sampling.seed)


def methods(result: Evaluation) -> set[Method]:
    """How the intervals of all figures were made."""
    found: set[Method] = {at.method for one in result.models for at in one.pass_at}
    found |= {at.method for languages in by_language(result) for at in languages.values()}
    return found | ({"bootstrap"} if result.suite.is_fim else set())  # of the similarity


def _languages_table(result: Evaluation) -> Iterator[str]:
    per_model = by_language(result)
    names = list(per_model[0])
    if not names:
        return
    figure = figure_name(1, is_fim=result.suite.is_fim)
    yield f"| {figure} by language | {' | '.join(names)} |"
    yield f"| --- |{' ---: |' * len(names)}"
    for one, found in zip(result.models, per_model, strict=True):
        cells = [share(found[name].interval) for name in names]
        yield f"| {one.model} | {' | '.join(cells)} |"
    yield ""


def _groups_table(result: Evaluation) -> Iterator[str]:
    names = list(dict.fromkeys(group for one in result.models for group in one.groups))
    yield f"| answers | {' | '.join(names)} | cut | passed together |"
    yield f"| --- |{' ---: |' * (len(names) + 2)}"
    for one in result.models:
        cells = [str(one.groups.get(name, 0)) for name in names]
        cells.append(str(sum(task.num_cut for task in one.tasks)))
        cells.append(str(sum(task.num_together for task in one.tasks)))
        yield f"| {one.model} | {' | '.join(cells)} |"


def _failures(one: ModelScore) -> Iterator[str]:
    failed = [task for task in one.tasks if task.failure is not None]
    if not failed:
        return
    yield f"## Failures of {one.model}"
    yield ""
    yield "The first failed answer of each task; all answers lie in the journal."
    yield ""
    yield "| task | passed | first failure | |"
    yield "| --- | ---: | --- | --- |"
    for task in failed[:_MAX_FAILURES]:
        assert task.failure is not None
        detail = task.failure.detail.strip().splitlines()
        told = " · ".join(line.strip() for line in detail)[:160].replace("|", "\\|")
        told = told.replace("`", "'")
        cells = f"{task.num_passed} of {task.num_answers} | {task.failure.group}"
        yield f"| {task.task} | {cells} | {f'`{told}`' if told else ''} |"
    if len(failed) > _MAX_FAILURES:
        yield f"| and {len(failed) - _MAX_FAILURES} more | | | |"
    yield ""


def _explanation(result: Evaluation) -> Iterator[str]:
    made = methods(result)
    yield "## What the figures mean"
    yield ""
    if result.suite.is_fim:
        yield (
            "- **exact match**: the first line of the answer is what stood there, but for spaces "
            "at both ends. Another right answer counts as wrong. **edit similarity**: 1 - edit "
            "distance / the longer length."
        )
    else:
        yield (
            "- **pass@k**: the chance that at least one of k answers passes all tests, by the "
            "unbiased estimator (Chen et al. 2021), mean over tasks."
        )
    if "bootstrap" in made:
        yield "- Intervals in brackets are 95 %, by a bootstrap over tasks."
    if "wilson" in made:
        yield "- Intervals in brackets are 95 %, Wilson's over tasks: each counts as one trial."
    yield (
        "- **cut**: answers that ended at the limit of tokens. **passed together**: answers that "
        "ran in one process with their tests, because their values are no plain ones; code that "
        "means to deceive could have done so there."
    )


def share(value: Interval) -> str:
    return f"{100 * value.value:.1f} % ({100 * value.low:.1f} to {100 * value.high:.1f})"


def similarity(value: Interval) -> str:
    return f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"
