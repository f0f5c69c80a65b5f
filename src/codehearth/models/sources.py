"""Where a name can be fetched from: one place for a repository, up to two for a catalogue row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codehearth.errors import ModelNotFound
from codehearth.models.catalogue import Row, resolve
from codehearth.models.names import HUB_PREFIXES, CatalogueName, Hub, HubName
from codehearth.models.precisions import nearest_to_default
from codehearth.models.selection import Wanted


@dataclass(frozen=True)
class Source:
    """A repository on one hub and what is wanted from it."""

    hub: Hub
    repo: str
    revision: str | None
    wanted: Wanted


def sources_of(name: CatalogueName | HubName) -> Mapping[Hub, Source]:
    """The source on each hub that has the model; raises ModelNotFound where none has."""
    if isinstance(name, HubName):
        wanted = Wanted(str(name), selector=name.selector)
        return {name.hub: Source(name.hub, name.repo, name.revision, wanted)}
    row, precision = resolve(name)
    precision = precision or default_precision(row)
    found: dict[Hub, Source] = {}
    for files in row.files:
        if files.precision != precision:
            continue
        wanted = Wanted(f"{row.name}:{precision}", None, files.precision, files.format, files.files)
        for hub in HUB_PREFIXES:
            repo = files.repo(hub)
            if repo is not None:
                revision = name.revision or files.revision
                found.setdefault(hub, Source(hub, repo, revision, wanted))
    return found


def default_precision(row: Row) -> str:
    """The precision to fetch when none is named: a GGUF near q4_k_m, else the first one."""
    ggufs = [files.precision for files in row.files if files.format == "gguf"]
    chosen = nearest_to_default(ggufs) or next(iter(row.precisions), None)
    if chosen is None:
        raise ModelNotFound(row.name, hint="this model is on no hub: it comes with the package")
    return chosen
