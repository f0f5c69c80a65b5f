"""`hearth doctor`: is everything here that is needed, and if not, what helps?"""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from codehearth.cli.options import json_option
from codehearth.cli.output import print_data, print_json, styled
from codehearth.errors import HearthError

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check whether everything is here that is needed.

    Python, settings, memory, GPU and its driver, data folder and who may read it, disk, port, keys,
    engines and their environments, clock, hubs and proxies are looked at. The engine is started
    with the packaged model and asked for a few tokens. Each trouble comes with its cure. Exit
    code 1: a check has failed.
    """
    from codehearth.cli.doctor.checks import all_checks

    found = []
    for check in all_checks():
        found.append(check)
        if not as_json:
            state = styled(f"{check.state:<4}", sys.stdout, fg=_COLOURS[check.state])
            print_data(f"{state}  {check.name:<11}  {check.detail}")
            if check.hint:
                print_data(f"{'':<17}  {check.hint}")
    if as_json:
        print_json([asdict(check) for check in found])
    failed = [check.name for check in found if check.state == "fail"]
    if failed:
        raise HearthError(f"Failed: {', '.join(failed)}.")
