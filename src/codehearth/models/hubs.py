"""What the house needs from a model hub, as one Protocol, and where the hubs are and keep things.

The hubs themselves are `huggingface.py` and `modelscope.py`, thin over each hub's own client
library. Here is what both share: the shape of a file list, the errors, and the places that their
environment variables name. Nothing here imports a client library: where a cache lies must be
known without paying for their import.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from codehearth.errors import BadSetting, HubFailed, ModelNotFound
from codehearth.models.names import Hub

HubPreference = Literal["auto", "huggingface", "modelscope"]

# Hears what is done to a file, and up to which of its bytes. What it raises stops the work.
Report = Callable[[Literal["download", "verify"], int], None]

HUB_TITLES: dict[Hub, str] = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}

# How long a hub may take to say that it is there before the other one is asked.
PROBE_TIMEOUT_S = 1.5

# What `hub_places` reads, without the tokens.
PLACE_VARIABLES = (
    *("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT"),
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "MODELSCOPE_CACHE", "MODELSCOPE_HOME"),
    *("MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN", "MODELSCOPE_PREFER_AI_SITE"),
)

_TRUE = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads its switches


class HubUnreachable(HubFailed):
    """No answer from a hub: the network, not the request, is at fault. Another hub may do."""


class DownloadBroken(HubUnreachable):
    """A download that stopped with a part of the file here: worth more than another hub."""


@dataclass(frozen=True)
class RemoteFile:
    """A file in a repository. The hub gives a sha256, or git's own blob hash, or neither."""

    path: str
    num_bytes: int
    sha256: str | None = None
    git_blob: str | None = None


@dataclass(frozen=True)
class Listing:
    """A repository at one commit. `revision` is what was asked for: a branch, a tag, a commit."""

    hub: Hub
    repo: str
    revision: str
    commit: str
    files: tuple[RemoteFile, ...]


class HubClient(Protocol):
    """One hub. Every method raises HubFailed, HubUnreachable, ModelNotFound or DiskFull."""

    @property
    def name(self) -> Hub: ...

    @property
    def cache(self) -> Path:
        """The folder that this hub's files are kept in, shared with other programs."""

    def listing(self, repo: str, revision: str | None) -> Listing: ...

    def missing_bytes(self, listing: Listing, file: RemoteFile) -> int:
        """How many bytes a download of `file` would still write."""

    def download(self, listing: Listing, file: RemoteFile, report: Report) -> Path:
        """The file in the hub's cache, fetched where it is missing and checked by its hash.

        Whatever stops a download, what had arrived is kept for the next attempt.
        """

    def remove(self, folder: Path, files: tuple[str, ...]) -> int:
        """Deletes files of a snapshot folder in this hub's cache; the number of bytes freed."""

    def discard(self, repo: str, revision: str | None) -> int:
        """Deletes what half-done downloads of a repository left; the number of bytes freed."""


@dataclass(frozen=True)
class HubPlaces:
    """Addresses, tokens and cache folders, as the hubs' own environment variables say."""

    huggingface_cache: Path
    huggingface_endpoint: str
    modelscope_cache: Path
    modelscope_endpoint: str
    modelscope_home: Path
    huggingface_token: str | None = None
    modelscope_token: str | None = None
    is_offline: bool = False

    def endpoint(self, hub: Hub) -> str:
        return self.huggingface_endpoint if hub == "huggingface" else self.modelscope_endpoint

    def cache(self, hub: Hub) -> Path:
        return self.huggingface_cache if hub == "huggingface" else self.modelscope_cache


def hub_places(environment: Mapping[str, str]) -> HubPlaces:
    """The places that `environment` names; raises BadSetting for an address that is none.

    The same names and the same order as huggingface_hub and modelscope_hub read them, so that
    caches are shared with every other program that uses those libraries.
    """
    home = Path(environment.get("HOME") or Path.home())
    base = environment.get("XDG_CACHE_HOME") or home / ".cache"
    huggingface_home = _path(environment.get("HF_HOME") or Path(base) / "huggingface", home)
    huggingface_cache = (
        environment.get("HF_HUB_CACHE")
        or environment.get("HUGGINGFACE_HUB_CACHE")
        or huggingface_home / "hub"
    )
    return HubPlaces(
        huggingface_cache=_path(huggingface_cache, home),
        huggingface_endpoint=_address(
            "HF_ENDPOINT", environment.get("HF_ENDPOINT") or "https://huggingface.co"
        ),
        huggingface_token=environment.get("HF_TOKEN")
        or environment.get("HUGGING_FACE_HUB_TOKEN")
        or None,
        modelscope_cache=_path(
            environment.get("MODELSCOPE_CACHE") or home / ".cache" / "modelscope", home
        ),
        modelscope_endpoint=_modelscope_endpoint(environment),
        modelscope_home=_path(environment.get("MODELSCOPE_HOME") or home / ".modelscope", home),
        modelscope_token=environment.get("MODELSCOPE_API_TOKEN") or None,
        is_offline=(
            environment.get("HF_HUB_OFFLINE") or environment.get("TRANSFORMERS_OFFLINE") or ""
        ).upper()
        in _TRUE,
    )


def is_reachable(endpoint: str, *, timeout_s: float = PROBE_TIMEOUT_S) -> bool:
    """Whether anything answers at a hub's address in time.

    Any HTTP answer counts. The look-up of a name cannot be given a time limit, so the question is
    asked in a thread that may be left behind.
    """
    import httpx2

    # Made before the clock runs: loading certificates takes a busy machine a while.
    client = httpx2.Client(timeout=timeout_s, follow_redirects=False)
    answers: list[bool] = []

    def ask() -> None:
        try:
            with client:
                client.head(endpoint)
            answers.append(True)
        except (httpx2.HTTPError, OSError, ValueError):
            pass

    thread = threading.Thread(target=ask, name="hub-probe", daemon=True)
    thread.start()
    thread.join(timeout_s)
    return bool(answers)


def reachable_hubs(places: HubPlaces) -> tuple[Hub, ...]:
    """The hubs that answer within PROBE_TIMEOUT_S, both asked at once."""
    found: set[Hub] = set()

    def ask(hub: Hub) -> None:
        if is_reachable(places.endpoint(hub)):
            found.add(hub)

    threads = [threading.Thread(target=ask, args=(hub,), daemon=True) for hub in HUB_TITLES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tuple(hub for hub in HUB_TITLES if hub in found)


def _modelscope_endpoint(environment: Mapping[str, str]) -> str:
    named = environment.get("MODELSCOPE_ENDPOINT")
    if named:
        return _address("MODELSCOPE_ENDPOINT", named)
    domain = environment.get("MODELSCOPE_DOMAIN", "").strip()
    if domain:
        return _address("MODELSCOPE_DOMAIN", domain)
    if environment.get("MODELSCOPE_PREFER_AI_SITE", "").lower() in ("1", "true", "yes", "on"):
        return "https://www.modelscope.ai"
    return "https://modelscope.cn"


def _address(variable: str, text: str) -> str:
    address = text.strip().rstrip("/")
    if variable.startswith("MODELSCOPE") and "://" not in address:
        address = f"https://{address}"  # the library takes a bare domain
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise BadSetting(
            f"{variable} is not the address of a hub.",
            hint="write https://host, without a user name or password",
        )
    return address


def _path(text: str | Path, home: Path) -> Path:
    path = Path(os.path.expandvars(str(text)))
    if path.parts and path.parts[0] == "~":
        return home.joinpath(*path.parts[1:])
    return path.expanduser()


def worst_of(problems: Sequence[HubFailed | ModelNotFound]) -> HubFailed | ModelNotFound:
    """What to tell when no hub had a model: "not there" says less than "could not be asked"."""
    if len(problems) > 1 and all(isinstance(one, HubUnreachable) for one in problems):
        return HubUnreachable(
            f"Neither {' nor '.join(HUB_TITLES.values())} could be reached.",
            hint="behind a proxy set HTTPS_PROXY, for a mirror HF_ENDPOINT or MODELSCOPE_ENDPOINT; "
            "`hearth bundle` carries models to a machine without internet",
        )
    return next((one for one in problems if isinstance(one, HubFailed)), problems[0])
