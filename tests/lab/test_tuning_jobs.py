"""A job on disk, whatever killed whom."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from codehearth.errors import Conflict, DiskFull, NotFound
from codehearth.lab.tuning.curves import loss_figure, smoothed
from codehearth.lab.tuning.jobs import Job, Jobs


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(tmp_path / "tune" / "me-1")
    made.write("job.json", '{"name": "me"}')
    made.enter("training")
    return made


def test_a_job_that_nobody_works_on_was_interrupted(job: Job) -> None:
    with job.alone():
        running = job.seen()
    left = job.seen()

    assert running is not None and left is not None
    assert (running.phase, running.is_running) == ("training", True)
    assert (left.phase, left.is_running) == ("interrupted", False)


def test_a_killed_process_leaves_its_job_to_the_next(job: Job) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom codehearth.lab.tuning.jobs import Job\n"
        "with Job(Path(sys.argv[1])).alone():\n    print('in', flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(job.folder)], stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"in\n"
        with pytest.raises(Conflict), job.alone():
            pass
        holder.kill()
        holder.wait()

        with job.alone():
            pass


def test_a_job_that_cannot_be_written_says_that_it_can_go_on(tmp_path: Path) -> None:
    (tmp_path / "tune").write_text("in the way of all jobs")

    with pytest.raises(DiskFull, match="cannot be written") as refused:
        Job(tmp_path / "tune" / "me-1").enter("training")

    assert "goes on from there" in str(refused.value.hint)


def test_events_behind_a_checkpoint_are_told_again_and_once(job: Job) -> None:
    for step in range(1, 6):
        job.add_event({"kind": "step", "step": step, "loss": 1.0})

    job.forget_events_after(3)
    job.add_event({"kind": "step", "step": 4, "loss": 0.5})

    assert [event["step"] for event in job.events()] == [1, 2, 3, 4]


def test_a_training_from_the_beginning_forgets_steps_and_not_its_rows(job: Job) -> None:
    job.add_event({"kind": "rows", "num_rows": 20})
    job.add_event({"kind": "step", "step": 1, "loss": 1.0})

    job.forget_events_after(-1)

    assert [event["kind"] for event in job.events()] == ["rows"]


def test_a_line_that_was_cut_off_is_left_out(job: Job) -> None:
    job.add_event({"kind": "step", "step": 1, "loss": 1.0})
    with job.events_path.open("a") as file:
        file.write('{"kind": "st')

    assert [event["step"] for event in job.events()] == [1]


def test_the_last_job_comes_first_and_strange_folders_are_none(job: Job, tmp_path: Path) -> None:
    (tmp_path / "tune" / "empty").mkdir()
    (tmp_path / "tune" / "torn").mkdir()
    (tmp_path / "tune" / "torn" / "state.json").write_text("{")
    other = Job(tmp_path / "tune" / "other-2")
    other.write("job.json", "{}")
    time.sleep(0.01)
    other.enter("failed", problem="it broke", hint="mend it")

    jobs = Jobs(tmp_path / "tune")

    assert [seen.id for seen in jobs.all()] == ["other-2", "me-1"]
    assert jobs.all()[0].state.problem == "it broke"
    for name in ("nothing", "../tune/me-1", "torn"):
        with pytest.raises(NotFound):
            jobs.get(name)


def test_the_curve_has_a_line_for_each_loss() -> None:
    events = [{"kind": "step", "step": n, "loss": 1 / n} for n in range(1, 9)]
    events.append({"kind": "evaluated", "step": 8, "loss": 0.3})

    figure = loss_figure("me", events)

    names = [[point.name for point in series.points if point.name] for series in figure.series]
    assert names == [[], ["training"], ["held out"]]
    assert loss_figure("me", []).series == ()
    assert smoothed([(1, 4.0), (2, 0.0)], 0.5) == [(1, 4.0), (2, 2.0)]
