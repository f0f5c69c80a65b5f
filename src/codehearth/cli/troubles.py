"""Checks of `hearth doctor` for what is rarely wrong, and hard to find by oneself when it is.

The clock, the driver of the GPU, engines' environments, who may read the data folder, and whether
what asks this machine by way of the environment's proxy would reach it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path

from codehearth.cli.checks import Check
from codehearth.settings import Settings

# Signatures of TLS and of hubs are refused from some minutes on.
_SKEW_S = 120.0
_DAY_S = 86400.0

# CUDA's release notes: the oldest Linux driver of a major release (minor version compatibility).
_OLDEST_DRIVER: Mapping[int, int] = {11: 450, 12: 525, 13: 580}

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def clock(endpoint: str | None, *, now_s: float | None = None) -> Check:
    """The clock, held against a hub's `Date` where one answers, else against this installation."""
    now_s = time.time() if now_s is None else now_s
    packaged_s = Path(__file__).stat().st_mtime
    if now_s < packaged_s - _DAY_S:
        told = time.strftime("%Y-%m-%d", time.gmtime(now_s))
        problem = f"the clock says {told}, which was before CodeHearth was installed"
        return Check("clock", "fail", problem, "set it: `sudo timedatectl set-ntp true`")
    there_s = None if endpoint is None else _date_of(endpoint)
    if there_s is None:
        return Check("clock", "ok", "plausible; no hub answers to compare it with")
    skew_s = now_s - there_s
    if abs(skew_s) > _SKEW_S:
        way = "ahead of" if skew_s > 0 else "behind"
        problem = f"{abs(skew_s) / 60:.0f} minutes {way} the hub's: secure connections may fail"
        return Check("clock", "warn", problem, "set it: `sudo timedatectl set-ntp true`")
    return Check("clock", "ok", "agrees with the hub's")


def _date_of(endpoint: str) -> float | None:
    """What time a server says it is, in seconds since 1970."""
    import httpx2

    try:
        answer = httpx2.head(endpoint, timeout=3.0, follow_redirects=False)
        return parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (httpx2.HTTPError, OSError, KeyError, ValueError):
        return None


def driver() -> Iterator[Check]:
    """NVIDIA's driver, where there is one: too old for an engine, or not the one in the kernel."""
    try:
        import pynvml

        pynvml.nvmlInit()
        version = str(pynvml.nvmlSystemGetDriverVersion())
    except Exception as error:  # noqa: BLE001 - a broken driver raises what it likes
        if Path("/proc/driver/nvidia/version").exists():
            yield driver_check(None, str(error), cuda_wanted())
        return
    yield driver_check(version, "", cuda_wanted())


def driver_check(version: str | None, problem: str, cuda: int) -> Check:
    """What a driver's version means for an engine built with CUDA `cuda`; pure."""
    if version is None:
        detail = f"the kernel has NVIDIA's driver, but its library does not answer: {problem}"
        hint = "after an update of the driver, restart; in a container, use the NVIDIA runtime"
        return Check("driver", "fail", detail, hint)
    major = version.split(".")[0]
    oldest = _OLDEST_DRIVER.get(cuda, 0)
    if major.isdigit() and int(major) < oldest:
        detail = f"NVIDIA {version} is too old for CUDA {cuda}, which the GPU engines are built for"
        return Check("driver", "warn", detail, f"install driver {oldest} or later, then restart")
    return Check("driver", "ok", f"NVIDIA {version}, fit for CUDA {cuda}")


def cuda_wanted() -> int:
    """The major release of CUDA that the pinned engines are built with; 0 where none is."""
    from codehearth.engines.recipes import RECIPES

    for devices in RECIPES.values():
        if "cuda" in devices:
            for line in devices["cuda"].pins.read_text("utf-8").splitlines():
                if line.startswith("cuda-toolkit=="):
                    return int(line.removeprefix("cuda-toolkit==").split(".")[0])
    return 0


def environments(settings: Settings) -> Iterator[Check]:
    """Engines' own environments: one line for each that is there and does not work."""
    from codehearth.engines.environments import Environments
    from codehearth.engines.installed import Broken, Installed
    from codehearth.engines.recipes import RECIPES
    from codehearth.gateway.choosing import environments_of

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


def permissions(folder: Path) -> Check | None:
    """Whether others may read keys and conversations; None where the folder is not there."""
    try:
        facts = folder.stat()
    except OSError:
        return None
    if facts.st_uid != os.getuid():
        detail = f"{folder} belongs to another user (number {facts.st_uid})"
        return Check("permissions", "warn", detail, f"`sudo chown -R $(id -un) {folder}`")
    mode = stat.S_IMODE(facts.st_mode)
    if mode & 0o077:
        detail = f"others may look into {folder} (mode {mode:o}): keys and conversations lie there"
        return Check("permissions", "warn", detail, f"`chmod 700 {folder}`")
    return Check("permissions", "ok", "only this user can read the data folder")


def proxies(environment: Mapping[str, str]) -> Iterator[Check]:
    """Ours is never asked for this machine's own server; other programs' may be."""
    found = [name for name in _PROXIES if environment.get(name) or environment.get(name.lower())]
    if not found:
        return
    names = ", ".join(found)
    exempt = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    swallowed = [host for host in ("127.0.0.1", "localhost") if not _is_exempt(host, exempt)]
    if not swallowed:
        yield Check("proxy", "ok", f"{names} is set, this machine is exempt")
        return
    hint = "other programs may ask the proxy for this server: NO_PROXY=127.0.0.1,localhost"
    detail = f"{names} is set, and NO_PROXY does not exempt {' and '.join(swallowed)}"
    yield Check("proxy", "warn", detail, hint)


def _is_exempt(host: str, exempt: str) -> bool:
    """Whether a value of NO_PROXY names a host, as most programs read it."""
    names = [name.strip().lstrip(".") for name in exempt.split(",")]
    return "*" in names or host in names
