"""`hearth advise`: the precision, context and threads to use on this machine, and why."""

from __future__ import annotations

import click

from codehearth.cli.options import json_option, model_argument, settings_now
from codehearth.cli.output import print_data, print_json, say


@click.command()
@model_argument()
@json_option
def advise(model: str, as_json: bool) -> None:
    """Name the precision, context and threads to use here.

    For chat and for typing, from what `hearth measure` has found on this machine; without that it
    predicts, and says so.
    """
    from codehearth.cli.machine import usable_hardware
    from codehearth.cli.shelf import store_of
    from codehearth.lab.advising import counsel

    settings = settings_now()
    found = store_of(settings).find(model, allow_path=True)
    told = counsel(found, settings.data / "lab", usable_hardware(settings))
    if as_json:
        print_json(
            {
                "model": found.name,
                "result": told.result.id if told.result else None,
                "advice": [one.as_document() for one in told.advice],
            }
        )
        return
    for one in told.advice:
        threads = "1 thread" if one.num_threads == 1 else f"{one.num_threads} threads"
        print_data(
            f"{one.purpose}: {one.precision}, context {one.context_tokens}, {threads}: {one.reason}"
        )
    if told.result:
        say(f"\nFrom the measurement {told.result.id}.")
        if told.result.noise.is_noisy:
            say("Other programs had the machine then, so the best speed of each counts.")
    else:
        say(f"\nThis is predicted from typical figures; `hearth measure {model}` measures.")
