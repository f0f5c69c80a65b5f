"""The setting that names models of other servers, as a table; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from codehearth.errors import BadSetting

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FORM = "write NAME=URL or NAME=URL#MODEL, such as coder=http://gpu-box:8000/v1#Qwen2.5-Coder-32B"


@dataclass(frozen=True)
class Server:
    """Where a model is served; `model` is its name there, empty for the first one it has."""

    url: str
    model: str = ""


def parse_remotes(entries: Iterable[str]) -> Mapping[str, tuple[Server, ...]]:
    """The servers of each name; raises BadSetting for what is no server."""
    found: dict[str, tuple[Server, ...]] = {}
    for entry in entries:
        name, separator, address = entry.partition("=")
        url, _, model = address.partition("#")
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        if not separator or not _NAME.fullmatch(name) or not is_address:
            raise BadSetting(f"remotes holds '{entry}', which names no server.", hint=_FORM)
        if parts.username or parts.password or parts.query:
            raise BadSetting(
                f"remotes holds a key or a query in the address of '{name}'.",
                hint="set the key in HEARTH_REMOTE_KEY",
            )
        found[name] = (*found.get(name, ()), Server(url.rstrip("/"), model))
    return found
