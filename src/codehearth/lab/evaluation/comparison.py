"""What changed between two evaluations, and whether it is more than noise; pure.

Task by task over the tasks that both have: a paired bootstrap. "noise" is where the 95 % interval
of the mean change holds zero; a small true change may be called so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from codehearth.errors import InvalidRequest
from codehearth.lab.evaluation.estimator import Difference, difference, pass_at_k
from codehearth.lab.evaluation.result import Evaluation, ModelScore, TaskScore, figure_name


@dataclass(frozen=True)
class Change:
    """One figure of one pair of models over the tasks of both."""

    figure: str
    before: float
    after: float
    difference: Difference


@dataclass(frozen=True)
class Pair:
    first: str
    second: str
    num_tasks: int
    changes: tuple[Change, ...]
    newly_passed: tuple[str, ...]
    newly_failed: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """`differences` are what else is not the same, which may be why figures changed."""

    first: str
    second: str
    differences: tuple[str, ...]
    pairs: tuple[Pair, ...]

    def as_document(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        yield f"from {self.first} to {self.second}"
        for told in self.differences:
            yield f"- {told}"
        for pair in self.pairs:
            yield ""
            name = pair.first if pair.first == pair.second else f"{pair.first} -> {pair.second}"
            yield f"{name}, {pair.num_tasks} tasks"
            for one in pair.changes:
                yield f"  {_told(one)}"
            for title, tasks in (
                ("now passed", pair.newly_passed),
                ("now failed", pair.newly_failed),
            ):
                if tasks:
                    more = f" and {len(tasks) - 8} more" if len(tasks) > 8 else ""
                    yield f"  {title}: {', '.join(tasks[:8])}{more}"


def _told(change: Change) -> str:
    figures = f"{change.figure}: {100 * change.before:.1f} % -> {100 * change.after:.1f} %"
    interval = change.difference.interval
    span = f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f} points"
    match change.difference.verdict:
        case "same":
            return f"{figures}, the same"
        case "noise":
            return f"{figures}, no more than noise ({span})"
        case verdict:
            return f"{figures}, {verdict} ({span})"


def compared(first: Evaluation, second: Evaluation) -> Comparison:
    """Models of one name are compared; where each holds one model, those. Raises InvalidRequest."""
    if len(first.models) == len(second.models) == 1:
        pairs = [(first.models[0], second.models[0])]
    else:
        pairs = [(one, two) for one in first.models if (two := second.score(one.model))]
    compared_pairs = tuple(
        pair for one, two in pairs if (pair := compare_scores(one, two, seed=second.sampling.seed))
    )
    if not compared_pairs:
        raise InvalidRequest("The two evaluations have no model and task in common.")
    return Comparison(first.id, second.id, tuple(_differences(first, second)), compared_pairs)


def compare_scores(first: ModelScore, second: ModelScore, *, seed: int = 0) -> Pair | None:
    """Two scores over the tasks that both have; None where there are none."""
    late = {one.task: one for one in second.tasks}
    tasks = [(one, late[one.task]) for one in first.tasks if one.task in late]
    if not tasks:
        return None
    ks = sorted({one.k for one in first.pass_at} & {one.k for one in second.pass_at})
    is_fim = first.similarity is not None and second.similarity is not None
    changes = [
        _change(
            figure_name(k, is_fim=is_fim),
            _values(tasks, 0, k),
            _values(tasks, 1, k),
            seed,
        )
        for k in ks
    ]
    if is_fim:
        early, after = ([pair[side].similarity or 0.0 for pair in tasks] for side in (0, 1))
        changes.append(_change("edit similarity", early, after, seed))
    return Pair(
        first.model,
        second.model,
        len(tasks),
        tuple(changes),
        tuple(two.task for one, two in tasks if not one.num_passed and two.num_passed),
        tuple(two.task for one, two in tasks if one.num_passed and not two.num_passed),
    )


def _values(tasks: list[tuple[TaskScore, TaskScore]], side: int, k: int) -> list[float]:
    return [pass_at_k(pair[side].num_answers, pair[side].num_passed, k) for pair in tasks]


def _change(figure: str, before: list[float], after: list[float], seed: int) -> Change:
    return Change(
        figure,
        sum(before) / len(before),
        sum(after) / len(after),
        difference(before, after, seed=seed),
    )


def _differences(first: Evaluation, second: Evaluation) -> Iterator[str]:
    pairs: tuple[tuple[str, object, object], ...] = (
        ("suite", first.suite.name, second.suite.name),
        ("tasks", first.suite.sha256[:12], second.suite.sha256[:12]),
        ("answers a task", first.num_answers, second.num_answers),
        ("temperature", first.sampling.temperature, second.sampling.temperature),
        ("new tokens", first.sampling.max_tokens, second.sampling.max_tokens),
        ("time limit in s", first.time_limit_s, second.time_limit_s),
        ("sandbox", first.protection, second.protection),
    )
    for name, one, other in pairs:
        if one != other:
            yield f"{name}: {one} -> {other}"
