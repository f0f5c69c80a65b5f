"""A tuning job on disk: what was asked, how far it came, and the events that draw its curve.

    tune/ID/job.json        what was asked; written once
    tune/ID/state.json      the phase; replaced in one step
    tune/ID/events.jsonl    losses as the trainer told them
    tune/ID/training.jsonl, held_out.jsonl, trainer.log
    tune/ID/training/       the trainer's folder; moved to the registered models when it is done

A lock that the kernel holds says whether somebody works on it: a job whose phase is not an end and
that nobody works on was cut off, and the same command goes on with it.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from codehearth.errors import Conflict, DiskFull, NotFound
from codehearth.models.whole_file import write_whole

Phase = Literal[
    "prepared", "starting", "reading", "loading", "rehearsing", "training", "merging", "probing",
    "converting", "comparing", "evaluating", "done", "failed", "stopped",
]  # fmt: skip
ENDS: tuple[Phase, ...] = ("done", "failed", "stopped")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class State:
    """How far a job came. `problem` and `hint` tell why it failed; `model` what became of it."""

    phase: Phase
    updated_at: float
    problem: str = ""
    hint: str = ""
    model: str = ""
    version: int = 0


@dataclass(frozen=True)
class Seen:
    """A job as it is on disk. `is_running`: somebody works on it just now."""

    id: str
    asked: Mapping[str, Any]
    state: State
    is_running: bool

    @property
    def phase(self) -> str:
        """As a person would say it: a job that was cut off is in no phase."""
        is_cut_off = not self.is_running and self.state.phase not in ENDS
        return "interrupted" if is_cut_off else self.state.phase


class Job:
    """One job's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.training = folder / "training"
        self.events_path = folder / "events.jsonl"
        self.log_path = folder / "trainer.log"

    @property
    def id(self) -> str:
        return self.folder.name

    def write(self, name: str, content: str) -> Path:
        """A file of the job, whole or as it was; raises DiskFull."""
        path = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        except OSError as error:
            raise DiskFull(f"The job cannot be written ({error.strerror}).") from error
        return path

    def enter(self, phase: Phase, **facts: Any) -> None:
        state = State(phase, time.time(), **facts)
        self.write("state.json", json.dumps(asdict(state), ensure_ascii=False))

    def add_event(self, event: Mapping[str, Any]) -> None:
        """Appends an event; a disk that is full costs the curve and not the training."""
        try:
            with self.events_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        except OSError:
            return

    def forget_events_after(self, step: int) -> None:
        """A training that goes on from a checkpoint tells the steps behind it again."""
        kept = [json.dumps(one) for one in self.events() if int(one.get("step", step)) <= step]
        self.write("events.jsonl", "".join(f"{line}\n" for line in kept))

    def events(self) -> tuple[dict[str, Any], ...]:
        """The events in their order; a line that was cut off is left out."""
        try:
            lines = self.events_path.read_text(encoding="utf-8").splitlines()
        except OSError:
            return ()
        return tuple(event for line in lines if (event := _object(line)) is not None)

    def seen(self) -> Seen | None:
        """The job as it is; None where the folder holds none."""
        try:
            asked = json.loads((self.folder / "job.json").read_text(encoding="utf-8"))
            state = State(**json.loads((self.folder / "state.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return Seen(self.id, asked, state, self.is_running())

    def is_running(self) -> bool:
        try:
            with (self.folder / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One command at a time works on a job; raises Conflict."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("a")
        except OSError as error:
            raise DiskFull(f"The job cannot be written ({error.strerror}).") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"Another command works on the job {self.id} just now.",
                    hint="`hearth tune --list` shows how far it is",
                ) from None
            yield

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Jobs:
    """All jobs of a data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> tuple[Seen, ...]:
        """The last one first."""
        try:
            folders = [path for path in self.folder.iterdir() if _ID.fullmatch(path.name)]
        except OSError:
            return ()
        found = [seen for path in folders if (seen := Job(path).seen()) is not None]
        return tuple(sorted(found, key=lambda seen: -seen.state.updated_at))

    def forget(self, name: str) -> int:
        """Removes the jobs that were to become a model of that name, with the rows that they keep;
        those at which somebody works stay. Returns how many went."""
        left = [seen for seen in self.all() if seen.asked.get("name") == name]
        left = [seen for seen in left if not seen.is_running]
        for seen in left:
            Job(self.folder / seen.id).remove()
        return len(left)

    def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        if _ID.fullmatch(job_id) and ".." not in job_id:
            job = Job(self.folder / job_id)
            if job.seen() is not None:
                return job
        raise NotFound(f"There is no job '{job_id[:100]}'.", hint="`hearth tune --list`")


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
