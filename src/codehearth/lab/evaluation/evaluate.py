"""Models against a suite: answers asked for side by side, judged in the sandbox, counted.

1. What is in the journal is not asked again.
2. Answers come through the served API, as everybody's do; each has a seed of its own.
3. The code is taken out of the answer and judged; the answer and its verdict go to the journal.
4. pass@k with its interval, failures by kind, one failure a task.
"""

from __future__ import annotations

import datetime
import os
import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from codehearth import __version__
from codehearth.client import Client, ModelCard
from codehearth.errors import InvalidRequest, NotFound, UpstreamFailed
from codehearth.lab.evaluation.asking import Sampling, Subject, ask, code_of
from codehearth.lab.evaluation.estimator import Count, bootstrap, estimate
from codehearth.lab.evaluation.infilling import edit_similarity, first_line, is_exact
from codehearth.lab.evaluation.journal import Answered, Journal, journal_name
from codehearth.lab.evaluation.result import (
    Evaluation,
    Failure,
    ModelScore,
    SuiteFacts,
    TaskScore,
)
from codehearth.lab.evaluation.tasks import Gap, Suite, Task
from codehearth.lab.judging.cases import LANGUAGES, judge_cases
from codehearth.lab.judging.judge import judge
from codehearth.lab.judging.verdict import Verdict
from codehearth.lab.naming import run_id
from codehearth.lab.result import Interval
from codehearth.lab.sandbox import Limits, Protection

MAX_ANSWERS = 200
Item = Task | Gap


@dataclass(frozen=True)
class Options:
    """`num_answers` (n) for each task, of which every k of `ks` is estimated.

    Raises InvalidRequest for a k that needs more answers, before anybody is asked.
    """

    protection: Protection
    num_answers: int = 1
    ks: tuple[int, ...] = (1,)
    sampling: Sampling = field(default_factory=lambda: Sampling(0.0, 0.95, 512, 0))
    limits: Limits = field(default_factory=Limits)
    num_parallel: int = 4
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.num_answers <= MAX_ANSWERS:
            raise InvalidRequest(f"{self.num_answers} answers a task; take 1 to {MAX_ANSWERS}.")
        if too_many := [k for k in self.ks if not 1 <= k <= self.num_answers]:
            raise InvalidRequest(
                f"pass@{too_many[0]} needs at least {too_many[0]} answers to each task, "
                f"not {self.num_answers}.",
                hint=f"-n {too_many[0]}",
            )


@dataclass(frozen=True)
class Listener:
    """`say` gets sentences, `step` what is done now and which share of it."""

    say: Callable[[str], None] = lambda _: None
    step: Callable[[str, float], None] = lambda _what, _share: None


def evaluate(
    client: Client,
    subjects: Sequence[Subject],
    suite: Suite,
    options: Options,
    folder: Path,
    listener: Listener,
) -> Evaluation:
    """The models' scores; answers are kept below `folder`. Raises InvalidRequest, DiskFull, and
    what the client raises for a model that cannot be asked."""
    if not suite.items:
        raise InvalidRequest("None of the tasks can be judged here.")
    started, now = time.monotonic(), datetime.datetime.now(datetime.UTC)
    for title, reason in suite.left_out.items():
        listener.say(f"left out: {title} ({reason})")
    scores = tuple(
        _score(client, subject, suite, options, folder, listener) for subject in subjects
    )
    return Evaluation(
        id=run_id(now, f"{subjects[0].model}-{suite.name}"),
        created_at=now.isoformat(timespec="seconds"),
        command=options.command,
        duration_s=round(time.monotonic() - started, 1),
        versions={"codehearth": __version__, "python": platform.python_version()},
        suite=SuiteFacts(
            suite.name,
            suite.title,
            suite.sha256,
            len(suite.items),
            suite.is_fim,
            dict(suite.left_out),
        ),
        sampling=options.sampling,
        num_answers=options.num_answers,
        protection=options.protection,
        time_limit_s=options.limits.time_s,
        models=scores,
    )


def _score(
    client: Client,
    subject: Subject,
    suite: Suite,
    options: Options,
    folder: Path,
    listener: Listener,
) -> ModelScore:
    started = time.monotonic()
    card = _card(client, subject.model)
    name = journal_name(
        model=card, identity=subject.identity, mode=subject.mode, suite=suite.sha256,
        sampling=options.sampling, limits=options.limits, protection=options.protection,
    )  # fmt: skip
    journal = Journal(folder / "answers" / f"{name}.jsonl")
    answered = _Asking(client, subject, options, journal, listener).all(suite.items)
    tasks = tuple(_task_score(item, answered[item.name]) for item in suite.items)
    counts = [Count(one.num_answers, one.num_passed) for one in tasks]
    seed = options.sampling.seed
    return ModelScore(
        model=subject.model,
        precision=card.precision,
        mode=subject.mode,
        pass_at=tuple(estimate(counts, k, seed=seed) for k in options.ks),
        tasks=tasks,
        similarity=_mean_similarity(tasks, seed) if suite.is_fim else None,
        duration_s=round(time.monotonic() - started, 1),
    )


def _card(client: Client, model: str) -> ModelCard:
    """What is known of the weights; another server than ours may say nothing but a name."""
    with suppress(NotFound, UpstreamFailed):
        card = client.model(model)
        is_ours = card.num_bytes is not None
        return card if is_ours else replace(card, created_at=None)
    return ModelCard(model)


@dataclass
class _Asking:
    """All answers of one model."""

    client: Client
    subject: Subject
    options: Options
    journal: Journal
    listener: Listener
    # More programs at a time than cores would only run into their time limit.
    judging: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(max(1, os.cpu_count() or 1))
    )

    def all(self, items: Sequence[Item]) -> dict[str, list[Answered]]:
        """By task. The first error ends it; what was answered by then is in the journal."""
        jobs = [(item, index) for item in items for index in range(self.options.num_answers)]
        missing = [job for job in jobs if self.journal.find(job[0].name, job[1]) is None]
        if len(missing) < len(jobs):
            kept = len(jobs) - len(missing)
            self.listener.say(f"{self.subject.model}: {kept} of {len(jobs)} answers are kept ones")
        done = 0
        with ThreadPoolExecutor(self.options.num_parallel) as threads:
            waiting = [threads.submit(self._answer, *job) for job in missing]
            try:
                for finished in as_completed(waiting):
                    finished.result()
                    done += 1
                    self.listener.step(f"{self.subject.model}: answers", done / len(missing))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        found: dict[str, list[Answered]] = {item.name: [] for item in items}
        for item, index in jobs:
            answered = self.journal.find(item.name, index)
            assert answered is not None
            found[item.name].append(answered)
        return found

    def _answer(self, item: Item, index: int) -> None:
        answer = ask(self.client, self.subject, item, self.options.sampling, index)
        common = {
            "task": item.name,
            "index": index,
            "answer": answer.text,
            "was_cut": answer.was_cut,
            "num_tokens": answer.usage.completion_tokens,
        }
        if isinstance(item, Gap):
            self.journal.add(_judged_gap(item, answer.text, common))
            return
        code = code_of(answer.text, item, self.subject.mode)
        with self.judging:
            verdict = judged(code, item, self.options.limits, self.options.protection)
        self.journal.add(
            Answered(
                code=code,
                group=verdict.group,
                detail=verdict.detail,
                is_apart=verdict.is_apart,
                **common,  # type: ignore[arg-type]
            )
        )


def judged(code: str, task: Task, limits: Limits, protection: Protection) -> Verdict:
    """One task's code against what judges it."""
    if task.cases:
        return judge_cases(
            code,
            task.cases,
            language=LANGUAGES[task.language],
            function=task.entry,
            limits=limits,
            protection=protection,
        )
    return judge(code, task.tests, entry=task.entry, limits=limits, protection=protection)


def _judged_gap(gap: Gap, text: str, common: dict[str, object]) -> Answered:
    is_right = is_exact(text, gap.middle)
    return Answered(
        code=first_line(text),
        group="passed" if is_right else "wrong" if text.strip() else "empty",
        detail="" if is_right else f"expected: {gap.middle.strip()}",
        similarity=edit_similarity(text, gap.middle),
        **common,  # type: ignore[arg-type]
    )


def _task_score(item: Item, answered: Sequence[Answered]) -> TaskScore:
    failed = next((one for one in answered if one.group != "passed"), None)
    similarities = [one.similarity for one in answered if one.similarity is not None]
    return TaskScore(
        task=item.name,
        language=item.language,
        num_answers=len(answered),
        num_passed=sum(one.group == "passed" for one in answered),
        groups=dict(Counter(str(one.group) for one in answered)),
        failure=Failure(failed.group, failed.detail[:500]) if failed else None,
        num_cut=sum(one.was_cut for one in answered),
        num_together=sum(one.group == "passed" and not one.is_apart for one in answered),
        similarity=sum(similarities) / len(similarities) if similarities else None,
    )


def _mean_similarity(tasks: Sequence[TaskScore], seed: int) -> Interval:
    values = [one.similarity or 0.0 for one in tasks]
    return Interval(sum(values) / len(values), *bootstrap(values, seed=seed))
