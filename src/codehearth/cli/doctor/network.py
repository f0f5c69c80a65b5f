"""The port, the hubs and mirrors, the clock beside a hub's, and the environment's proxies."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path

from codehearth.cli.doctor.check import Check
from codehearth.errors import HearthError
from codehearth.settings import Settings

# Signatures of TLS and of hubs are refused from some minutes on.
_SKEW_S = 120.0
_DAY_S = 86400.0

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")

# Variables that name another address of a hub, as a pattern.
_MIRRORS = {"huggingface": "HF_ENDPOINT", "modelscope": "MODELSCOPE_"}


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


def hubs() -> Iterator[Check]:
    """Whether models can be fetched, and this machine's clock beside a hub's."""
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
