"""How a training is shown: a bar with loss, speed and time left, or a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from codehearth.cli.output import duration, has_colour, say

_PLAIN_EVERY_S = 10.0

Event = Callable[[Mapping[str, Any]], None]

_STAGES = {
    "starting": "starting the trainer",
    "reading": "reading the rows",
    "loading": "loading the model",
    "rehearsing": "asking the base what it answers, to be rehearsed",
    "training": "training",
    "merging": "merging the adapter",
    "probing": "asking the adapter and the merged checkpoint",
    "converting": "writing the GGUF",
    "comparing": "comparing all forms",
    "evaluating": "asking the base and the new model the same tasks (it is registered already)",
}


@contextmanager
def shown() -> Iterator[Event]:
    """Where events go: to a bar where somebody watches, to lines where not."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    console = Console(stderr=True, no_color=not has_colour(sys.stderr))
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("starting", total=None, figures="")

        def show(event: Mapping[str, Any]) -> None:
            for sentence in sentences(event):
                say(sentence)
            if "stage" in event:
                bars.update(task, description=_STAGES.get(event["stage"], event["stage"]))
            if "answers" in event:
                bars.update(
                    task, description=event["answers"], completed=round(100 * event["share"]),
                    total=100, figures="%",
                )  # fmt: skip
            if "step" in event:
                step = event["step"]
                bars.update(
                    task, completed=step["step"], total=step["num_steps"], figures=figures(step)
                )

        yield show


class _Lines:
    """Each stage once, and a step at most every ten seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_at = -_PLAIN_EVERY_S

    def __call__(self, event: Mapping[str, Any]) -> None:
        for sentence in sentences(event):
            say(sentence)
        if "stage" in event:
            say(_STAGES.get(event["stage"], event["stage"]))
        if ("step" in event or "answers" in event) and self._is_due():
            self._said_at = self._clock()
            say(_line(event))

    def _is_due(self) -> bool:
        return self._clock() - self._said_at >= _PLAIN_EVERY_S


def _line(event: Mapping[str, Any]) -> str:
    if "answers" in event:
        return f"{event['answers']}: {100 * event['share']:.0f} %"
    step = event["step"]
    return f"step {step['step']} of {step['num_steps']}: {figures(step)}"


def figures(step: Mapping[str, Any]) -> str:
    """`loss 0.512, 214 tokens/s, 2m 5s left`."""
    return (
        f"loss {step['loss']:.3f}, {step['tokens_per_s']:.0f} tokens/s, "
        f"{duration(step['left_s'])} left"
    )


def _long_rows(count: int, rows: Mapping[str, Any]) -> str:
    are = "1 row is" if count == 1 else f"{count} rows are"
    became = {"cut": "cut", "drop": "left out"}[rows["long_rows"]]
    limit, longest = rows["max_tokens"], rows["longest"]
    return f"warning: {are} longer than {limit} tokens and {became}; the longest has {longest}"


def sentences(event: Mapping[str, Any]) -> Iterator[str]:
    """What must be said, whoever watches."""
    if "rows" in event:
        rows = event["rows"]
        too_long = rows["num_too_long"] + rows["num_held_out_too_long"]
        if too_long:
            yield _long_rows(too_long, rows)
        yield f"{rows['num_tokens']} tokens, {rows['num_learnt']} of them learnt"
    if "rehearsal" in event:
        yield f"{event['rehearsal']['num_rows']} answers of the base are rehearsed among them"
    if "plan" in event and event["plan"]["resumed"] is not None:
        yield f"goes on behind step {event['plan']['resumed']}"
    if "evaluated" in event:
        found = event["evaluated"]
        yield f"step {found['step']}: loss on held-out rows {found['loss']:.3f}"
