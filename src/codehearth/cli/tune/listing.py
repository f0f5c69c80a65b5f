"""Jobs and tuned models as a list, and the way back to an earlier version."""

from __future__ import annotations

from dataclasses import asdict

from codehearth.cli.letting_go import let_go
from codehearth.cli.output import moment, print_json, print_table, say
from codehearth.cli.shelf import store_of
from codehearth.settings import Settings


def show(settings: Settings, *, as_json: bool) -> None:
    from codehearth.lab.tuning.jobs import Jobs

    tuned = store_of(settings).tuned
    jobs = Jobs(settings.data / "tune").all()
    models = [(current, tuned.versions(current.name)) for current in tuned.all()]
    if as_json:
        print_json(
            {
                "models": [
                    {**asdict(current), "versions": [one.version for one in versions]}
                    for current, versions in models
                ],
                "jobs": [{"id": job.id, "phase": job.phase, "asked": job.asked} for job in jobs],
            }
        )
        return
    print_table(
        ("MODEL", "VERSION", "OF", "BASE", "TUNED AT"),
        [
            (one.name, str(one.version), str(len(versions)), one.base, moment(one.created_at))
            for one, versions in models
        ],
    )
    open_jobs = [job for job in jobs if job.phase != "done"]
    if open_jobs:
        print_table(
            ("\nJOB", "STATE", "DATA", "PROBLEM"),
            [
                (job.id, job.phase, str(job.asked.get("data", "")), job.state.problem)
                for job in open_jobs
            ],
        )


def roll_back(settings: Settings, name: str) -> None:
    from codehearth.models.tuned import FORMS

    model = store_of(settings).tuned.roll_back(name)
    let_go(settings, model.name, forms=FORMS)
    say(f"'{model.name}' means version {model.version} again.")
