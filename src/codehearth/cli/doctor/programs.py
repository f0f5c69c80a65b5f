"""What runs: Python, engines and their environments, the packaged model, the sandbox."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from codehearth.cli.doctor.check import Check
from codehearth.cli.doctor.storage import is_folder
from codehearth.errors import HearthError
from codehearth.settings import Settings


def python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - a doctor does not trust the packaging
        return Check("python", "fail", version, "CodeHearth needs Python 3.11 or later")
    return Check("python", "ok", f"{version} at {sys.executable}")


def engine(settings: Settings) -> Check:
    from codehearth.engines import engines
    from codehearth.engines.base import Unavailable
    from codehearth.gateway.choosing import environments_of

    try:
        found = engines(
            llama_server_setting=settings.llama_server, environments=environments_of(settings)
        )
    except HearthError as error:
        return Check("engine", "fail", error.message, error.hint)
    for one in found:
        availability = one.availability()
        if not isinstance(availability, Unavailable):
            return Check("engine", "ok", availability.detail)
    assert isinstance(availability, Unavailable)
    return Check("engine", "fail", availability.reason, availability.hint)


def environments(settings: Settings) -> Iterator[Check]:
    """Engines' own environments: one line for each that is there and does not work."""
    from codehearth.engines.environments import Environments
    from codehearth.engines.installed import Broken, Installed
    from codehearth.engines.recipes import RECIPES
    from codehearth.gateway.choosing import environments_of

    if not is_folder(settings.data):  # its own line says so
        return
    made = Environments(environments_of(settings))
    for name, devices in RECIPES.items():
        state = made.state(name)
        again = f"`hearth engines install {name}` makes it anew"
        if isinstance(state, Broken):
            yield Check("engines", "fail", f"{name} cannot be used: {state.reason}", again)
        elif isinstance(state, Installed):
            recipe = devices.get(state.device)  # type: ignore[call-overload]
            if recipe is not None and not state.is_of(recipe):
                yield Check("engines", "warn", f"{name} has packages of an older release", again)
            else:
                yield Check("engines", "ok", f"{name} {state.version} for {state.device}")


def starter_answers(settings: Settings) -> Check:
    """The packaged model in a real engine, asked for a few tokens."""
    from codehearth.cli.trial import Trial, try_model

    try:
        trial: Trial = try_model(settings, "starter")
    except HearthError as error:
        tail = getattr(error, "log_tail", "")
        return Check("starter", "fail", f"{error.message} {tail}".strip(), error.hint)
    detail = f"answers; loaded in {trial.load_s:.1f} s, {trial.tokens_per_s:.0f} tokens a second"
    return Check("starter", "ok", detail)


def sandbox() -> Check:
    """Where code that models write is run."""
    from codehearth.lab.sandbox import protections

    found = protections()
    if found.best is None:
        missing = "`apt install bubblewrap`: without a sandbox no generated code is run"
        return Check("sandbox", "warn", f"none ({found.summary()})", missing)
    better = None if found.best == "bubblewrap" else "`apt install bubblewrap` for the better one"
    return Check("sandbox", "ok", found.summary(), better)
