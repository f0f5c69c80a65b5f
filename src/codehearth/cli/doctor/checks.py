"""Everything that `hearth doctor` looks at, in the order of its report."""

from __future__ import annotations

import os
from collections.abc import Iterator

from codehearth.cli.doctor import configuration, hardware, network, programs, storage
from codehearth.cli.doctor.check import Check


def all_checks() -> Iterator[Check]:
    """Every check, one after the other; broken settings do not stop the others."""
    yield programs.python()
    settings, settings_check = configuration.settings()
    yield settings_check
    yield from configuration.unknown_variables(os.environ)
    yield from hardware.machine(settings)
    yield from hardware.driver()
    yield storage.data_folder(settings.data)
    yield from filter(None, [storage.permissions(settings.data)])
    yield from storage.disks(settings)
    yield network.port(settings)
    yield configuration.keys(settings)
    yield programs.engine(settings)
    yield from programs.environments(settings)
    yield programs.starter_answers(settings)
    yield programs.sandbox()
    yield from network.hubs()
    yield from network.proxies(os.environ)
