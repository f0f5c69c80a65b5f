"""Everything that `hearth doctor` looks at, in the order of its report."""

from __future__ import annotations

import os
from collections.abc import Iterator

from codehearth.cli.doctor.check import Check
from codehearth.cli.doctor.configuration import keys, settings_or_defaults, unknown_variables
from codehearth.cli.doctor.hardware import driver, machine
from codehearth.cli.doctor.network import hubs, port, proxies
from codehearth.cli.doctor.programs import engine, environments, python, sandbox, starter_answers
from codehearth.cli.doctor.storage import data_folder, disks, permissions


def all_checks() -> Iterator[Check]:
    """Every check, one after the other; broken settings do not stop the others."""
    yield python()
    settings, settings_check = settings_or_defaults()
    yield settings_check
    yield from unknown_variables(os.environ)
    yield from machine(settings)
    yield from driver()
    yield data_folder(settings.data)
    yield from filter(None, [permissions(settings.data)])
    yield from disks(settings)
    yield port(settings)
    yield keys(settings)
    yield engine(settings)
    yield from environments(settings)
    yield starter_answers(settings)
    yield sandbox()
    yield from hubs()
    yield from proxies(os.environ)
