"""What changed between two measurements, and whether it is more than noise; pure.

Speeds and times: more than noise where the ranges of all repeats do not overlap, and neither
machine was too busy. Loss: where the 95 % intervals do not overlap; perplexities, where they are
three standard errors apart. That is careful: a small true change may be called noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from codehearth.lab.result import Estimate, Interval, Precision, Result, Sample

Verdict = Literal["better", "worse", "different", "noise", "same"]


@dataclass(frozen=True)
class Change:
    """One figure of one precision, before and after. `verdict` "noise": it may be chance."""

    precision: str
    figure: str
    before: float
    after: float
    verdict: Verdict

    @property
    def ratio(self) -> float | None:
        return self.after / self.before if self.before else None


@dataclass(frozen=True)
class Comparison:
    """`differences` are what else is not the same, which may be why figures changed."""

    first: str
    second: str
    differences: tuple[str, ...]
    changes: tuple[Change, ...]
    only_in_first: tuple[str, ...]
    only_in_second: tuple[str, ...]

    @property
    def real(self) -> tuple[Change, ...]:
        return tuple(one for one in self.changes if one.verdict not in ("noise", "same"))

    def as_document(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        yield f"from {self.first} to {self.second}"
        for difference in self.differences:
            yield f"- {difference}"
        for names, where in ((self.only_in_first, "first"), (self.only_in_second, "second")):
            if names:
                yield f"- only in the {where}: {', '.join(names)}"
        yield ""
        if not self.real:
            yield "No figure changed by more than noise."
            return
        for one in self.real:
            ratio = f" ({one.ratio:.3f}x)" if one.ratio is not None else ""
            yield (
                f"{one.precision}: {one.figure} is {one.verdict}, "
                f"{one.before:.5g} -> {one.after:.5g}{ratio}"
            )
        rest = len(self.changes) - len(self.real)
        yield f"\nThe other {rest} figures did not change by more than noise."


def compared(first: Result, second: Result) -> Comparison:
    before = {one.precision: one for one in first.precisions}
    after = {one.precision: one for one in second.precisions}
    is_noisy = first.noise.is_noisy or second.noise.is_noisy
    both = [name for name in before if name in after]
    return Comparison(
        first=first.id,
        second=second.id,
        differences=tuple(_differences(first, second)),
        changes=tuple(
            change for name in both for change in _changes(before[name], after[name], is_noisy)
        ),
        only_in_first=tuple(name for name in before if name not in after),
        only_in_second=tuple(name for name in after if name not in before),
    )


def _differences(first: Result, second: Result) -> Iterator[str]:
    pairs: tuple[tuple[str, object, object], ...] = (
        ("model", first.model.name, second.model.name),
        ("text", first.text.sha256[:12], second.text.sha256[:12]),
        ("context", first.text.context_tokens, second.text.context_tokens),
        ("reference", first.reference, second.reference),
        ("processor", first.machine.get("cpu_name"), second.machine.get("cpu_name")),
        ("cores", first.machine.get("num_cores"), second.machine.get("num_cores")),
        ("engine", first.timing.engine, second.timing.engine),
        ("scored by", _scorer(first), _scorer(second)),
        ("threads", first.timing.num_threads, second.timing.num_threads),
        ("prompt", first.timing.prompt_tokens, second.timing.prompt_tokens),
    )
    for name, one, other in pairs:
        if one != other:
            yield f"{name}: {one} -> {other}"
    for package in sorted({*first.versions, *second.versions}):
        one, other = first.versions.get(package), second.versions.get(package)
        if one != other:
            yield f"{package}: {one} -> {other}"
    for which, result in (("first", first), ("second", second)):
        if result.noise.is_noisy:
            yield f"the machine was too busy in the {which}: its speeds are not compared"


def _scorer(result: Result) -> str:
    """The wheel's version stands among the packages."""
    facts = result.scoring
    if facts is None or facts.library in result.versions:
        return "xllamacpp"
    return f"{facts.library} {facts.version}"


def _changes(one: Precision, other: Precision, is_noisy: bool) -> Iterator[Change]:
    name = one.precision
    yield _exact(name, "size in bytes", one.file.num_bytes, other.file.num_bytes)
    yield _exact(name, "bits per weight", one.bits_per_weight, other.bits_per_weight)
    timings: list[tuple[str, Sample, Sample, bool]] = [
        ("load time in s", one.load_s, other.load_s, False),
        ("time to first token in s", one.ttft_s, other.ttft_s, False),
    ]
    for before in one.streams:
        after = other.at(before.num_streams)
        if after is not None:
            many = f"with {before.num_streams} at a time, in tokens/s"
            read = before.prefill_tokens_per_s, after.prefill_tokens_per_s
            write = before.decode_tokens_per_s, after.decode_tokens_per_s
            timings += [
                (f"reading {many}", *read, True),
                (f"writing {many}", *write, True),
            ]
    for figure, first, second, more_is_better in timings:
        yield _timing(name, figure, first, second, more_is_better, is_noisy)
    yield _estimate(name, "perplexity", one.loss.perplexity, other.loss.perplexity)
    if one.loss.kl and other.loss.kl:
        yield _interval(name, "mean KL", one.loss.kl.mean, other.loss.kl.mean, False)
        yield _interval(name, "99 % KL", one.loss.kl.p99, other.loss.kl.p99, False)
    if one.pass_at_1 and other.pass_at_1:
        yield _interval(name, "pass@1", one.pass_at_1, other.pass_at_1, True)
    if one.loss.top_1_agreement and other.loss.top_1_agreement:
        agreements = one.loss.top_1_agreement, other.loss.top_1_agreement
        yield _interval(name, "agreement of the likeliest token", *agreements, True)


def _exact(name: str, figure: str, before: float, after: float) -> Change:
    verdict: Verdict = "same" if before == after else "different"
    return Change(name, figure, before, after, verdict)


def _timing(
    name: str, figure: str, before: Sample, after: Sample, more_is_better: bool, is_noisy: bool
) -> Change:
    overlap = before.min <= after.max and after.min <= before.max
    is_chance = overlap or is_noisy
    verdict = "noise" if is_chance else _better(before.median, after.median, more_is_better)
    return Change(name, figure, before.median, after.median, verdict)


def _interval(
    name: str, figure: str, before: Interval, after: Interval, more_is_better: bool
) -> Change:
    if before.value == after.value:
        return Change(name, figure, before.value, after.value, "same")
    overlap = before.low <= after.high and after.low <= before.high
    verdict = "noise" if overlap else _better(before.value, after.value, more_is_better)
    return Change(name, figure, before.value, after.value, verdict)


def _estimate(name: str, figure: str, before: Estimate, after: Estimate) -> Change:
    if before.value == after.value:
        return Change(name, figure, before.value, after.value, "same")
    apart = abs(before.value - after.value)
    error = math.hypot(before.standard_error, after.standard_error)
    verdict: Verdict = "noise" if apart < 3 * error else _better(before.value, after.value, False)
    return Change(name, figure, before.value, after.value, verdict)


def _better(before: float, after: float, more_is_better: bool) -> Verdict:
    return "better" if (after > before) == more_is_better else "worse"
