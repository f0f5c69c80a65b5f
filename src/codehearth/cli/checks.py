"""What `hearth doctor` looks at, one function a thing; each says what is so and what to do."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codehearth.cli.output import size
from codehearth.errors import HearthError
from codehearth.settings import Settings, read_settings, setting_fields, user_config_path

_LOW_MEMORY_BYTES = 2 * 2**30
_LOW_DISK_BYTES = 10 * 2**30
_NO_DISK_BYTES = 2**30

# Variables that begin as settings do and are none.
_OTHER_VARIABLES = ("HEARTH_URL", "HEARTH_API_KEY", "HEARTH_ENGINE_KEY")


# Variables that name another address of a hub, as a pattern.
_MIRRORS = {"huggingface": "HF_ENDPOINT", "modelscope": "MODELSCOPE_"}


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    hint: str | None = None


def all_checks() -> Iterator[Check]:
    """Every check, one after the other; broken settings do not stop the others."""
    from codehearth.cli import troubles

    yield python()
    settings, settings_check = configuration()
    yield settings_check
    yield from unknown_variables(os.environ)
    yield from machine(settings)
    yield from troubles.driver()
    yield data_folder(settings.data)
    yield from filter(None, [troubles.permissions(settings.data)])
    yield from disks(settings)
    yield port(settings)
    yield keys(settings)
    yield engine(settings)
    yield from troubles.environments(settings)
    yield starter_answers(settings)
    yield sandbox()
    yield from hubs()
    yield from troubles.proxies(os.environ)


def python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - a doctor does not trust the packaging
        return Check("python", "fail", version, "CodeHearth needs Python 3.11 or later")
    return Check("python", "ok", f"{version} at {sys.executable}")


def configuration() -> tuple[Settings, Check]:
    """The settings, or the defaults where they are broken."""
    files = [str(file) for file in (user_config_path(), Path("hearth.toml")) if file.exists()]
    try:
        settings = read_settings(flags={})
    except HearthError as error:
        defaults = read_settings(flags={}, environment={}, folder=Path(os.devnull))
        return defaults, Check("settings", "fail", error.message, error.hint)
    detail = f"read from {', '.join(files)}" if files else "all at their defaults"
    return settings, Check("settings", "ok", detail)


def unknown_variables(environment: Mapping[str, str]) -> Iterator[Check]:
    """A misspelt variable does nothing, and nobody says so but us."""
    from difflib import get_close_matches

    known = [f"HEARTH_{setting.name.upper()}" for setting in setting_fields()]
    for variable in sorted(environment):
        if variable.startswith("HEARTH_") and variable not in (*known, *_OTHER_VARIABLES):
            near = get_close_matches(variable, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "`hearth config` shows the settings"
            yield Check("settings", "warn", f"{variable} is not a setting", hint)


def machine(settings: Settings) -> Iterator[Check]:
    from codehearth.cli.machine import GPU_NOTE, usable_hardware
    from codehearth.models.hardware import snapshot

    here = snapshot()
    yield Check("cores", "ok", f"{here.num_cores:g} of {here.cpu_name}")
    yield memory(here.free_bytes, here.total_bytes)
    if not here.gpus:
        yield Check("gpu", "ok", "none; models run on the CPU")
    is_used = bool(usable_hardware(settings).gpus)
    for gpu in here.gpus:
        detail = f"{gpu.name}, {size(gpu.free_bytes)} of {size(gpu.total_bytes)} free"
        yield Check("gpu", "ok" if is_used else "warn", detail, None if is_used else GPU_NOTE)


def memory(free_bytes: int, total_bytes: int) -> Check:
    detail = f"{size(free_bytes)} of {size(total_bytes)} free"
    if free_bytes < _LOW_MEMORY_BYTES:
        hint = "only small models will fit; close what holds memory"
        return Check("memory", "warn", detail, hint)
    return Check("memory", "ok", detail)


def data_folder(folder: Path) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        problem = f"{folder} cannot be written: {error.strerror or error}"
        return Check("data folder", "fail", problem, "name another with HEARTH_DATA")
    return Check("data folder", "ok", str(folder))


def disks(settings: Settings) -> Iterator[Check]:
    """Room where records and models go; one line for places on the same disk."""
    from codehearth.models.hubs import hub_places

    try:
        places = hub_places(os.environ)
    except HearthError as error:
        yield Check("disk", "fail", error.message, error.hint)
        return
    seen: set[int] = set()
    for folder in (settings.data, places.huggingface_cache, places.modelscope_cache):
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if (device := existing.stat().st_dev) not in seen:
            seen.add(device)
            yield _disk(folder, existing)


def _disk(folder: Path, existing: Path) -> Check:
    free = shutil.disk_usage(existing).free
    detail = f"{size(free)} free for {folder}"
    if free < _NO_DISK_BYTES:
        return Check("disk", "fail", detail, "make room: downloads keep 1 GiB free")
    if free < _LOW_DISK_BYTES:
        return Check("disk", "warn", detail, "models of 7B take about 5 GiB")
    return Check("disk", "ok", detail)


def port(settings: Settings) -> Check:
    from codehearth.gateway.running import find_running

    running = find_running(settings.data)
    if running is not None:
        return Check("server", "ok", f"runs at {running.url}")
    where = f"{settings.host} port {settings.port}"
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(found[0], socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[4])
    except OSError as error:
        problem = f"does not run, and {where} cannot be had: {error.strerror or error}"
        return Check("server", "warn", problem, "choose another port with `hearth serve --port N`")
    return Check("server", "ok", f"does not run; {where} is free")


def keys(settings: Settings) -> Check:
    from codehearth.records.keys import Keys

    try:
        with closing(Keys(settings.data)) as records:
            required = records.are_required()
            number = sum(key.revoked_at is None for key in records.all())
    except HearthError as error:
        return Check("keys", "fail", error.message, error.hint)
    if required and not number:
        hint = "make one: `hearth keys create NAME`"
        return Check("keys", "warn", "a key is required, and there is none", hint)
    if not required and not settings.is_loopback:
        hint = "make a key first: `hearth keys create NAME`"
        return Check("keys", "fail", f"listening on {settings.host} needs a key", hint)
    return Check("keys", "ok", f"{number} in use" if required else "none needed on this machine")


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


def hubs() -> Iterator[Check]:
    """Whether models can be fetched, and this machine's clock beside a hub's."""
    from codehearth.cli.troubles import clock
    from codehearth.models.hubs import HUB_TITLES, hub_places, reachable_hubs

    try:
        places = hub_places(os.environ)
    except HearthError as error:
        yield Check("hubs", "fail", error.message, error.hint)
        return
    if places.is_offline:
        yield Check("hubs", "ok", "offline: HF_HUB_OFFLINE is set, nothing is fetched")
        yield clock(None)
        return
    reachable = reachable_hubs(places)
    yield clock(places.endpoint(reachable[0]) if reachable else None)
    standard = hub_places({})
    for hub in HUB_TITLES:
        address = places.endpoint(hub)
        if hub not in reachable and address != standard.endpoint(hub):
            problem = f"{address}, named for {HUB_TITLES[hub]}, does not answer"
            hint = f"`env | grep -E '{_MIRRORS[hub]}'` shows who names it: correct or unset it"
            yield Check("mirror", "warn", problem, hint)
    if not reachable:
        asked = " nor ".join(places.endpoint(hub) for hub in HUB_TITLES)
        hint = "models that are here work; for a mirror set HF_ENDPOINT, for a proxy HTTPS_PROXY"
        yield Check("hubs", "warn", f"neither {asked} can be reached", hint)
        return
    yield Check("hubs", "ok", f"{', '.join(HUB_TITLES[hub] for hub in reachable)} can be reached")
