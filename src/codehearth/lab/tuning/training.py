"""A job's training: its files are written, the trainer works, and what it says is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from codehearth.engines.installed import Installed
from codehearth.errors import EngineFailed
from codehearth.lab.tuning import trainer
from codehearth.lab.tuning.jobs import Job
from codehearth.lab.tuning.preparing import Prepared
from codehearth.lab.tuning.specification import asked_document, specification_of
from codehearth.models.facts import Weights
from codehearth.models.local_models import LocalModel


def written(job: Job, prepared: Prepared, base: LocalModel, weights: Weights) -> dict[str, Any]:
    """The job's files; the trainer's own document is given back."""
    lines = {
        "training.jsonl": prepared.split.training,
        "held_out.jsonl": prepared.split.held_out,
    }
    for name, lessons in lines.items():
        rows = (json.dumps(one.as_row(), ensure_ascii=False) for one in lessons)
        job.write(name, "".join(f"{row}\n" for row in rows))
    job.training.mkdir(parents=True, exist_ok=True)
    specification = specification_of(prepared, base, weights, job.folder.absolute())
    job.write("trainer.json", json.dumps(specification, ensure_ascii=False))
    asked = {**asked_document(prepared), "created_at": int(time.time())}
    job.write("job.json", json.dumps(asked, ensure_ascii=False, indent=1))
    if job.seen() is None:
        job.enter("prepared")
    return specification


def train(
    job: Job, prepared: Prepared, environment: Installed, event: Callable[[Mapping[str, Any]], None]
) -> None:
    """The trainer does what it has not done yet; `event` gets what it tells.

    Raises what the trainer tells, and EngineFailed where it ends without having done its work.
    """
    if (job.training / "probes.json").is_file():
        return
    job.enter("starting")
    argv = trainer.command(
        environment.python, job.folder / "trainer.json", num_gpus=prepared.machine.num_gpus
    )
    is_done = False
    for line in trainer.lines(argv, job.log_path):
        is_done = is_done or "done" in line
        _heard(job, line)
        event(line)
    if not is_done:
        raise EngineFailed("The trainer ended before its work was done.", retry_after_s=None)


def _heard(job: Job, line: Mapping[str, Any]) -> None:
    """What the trainer says, onto disk: phases as states, figures as events."""
    if line.get("stage") in ("reading", "loading", "rehearsing", "training", "merging", "probing"):
        job.enter(line["stage"])
    if "plan" in line:
        job.forget_events_after(int(line["plan"]["resumed"] or -1))
    for kind in ("rows", "plan", "step", "evaluated", "trained"):
        if kind in line:
            job.add_event({"kind": kind, **line[kind]})
