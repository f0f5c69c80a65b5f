"""The repositories of this machine by name: one index file each, below the data folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from codehearth.errors import InvalidRequest, NotFound, RecordsUnavailable
from codehearth.repo.index import Facts, Index, Refreshed

FOLDER = "repositories"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_SUFFIX = ".sqlite"


@dataclass(frozen=True)
class Repository:
    name: str
    facts: Facts


class Shelf:
    """Indexes below `data`; names are checked, so none leads out of the folder."""

    def __init__(self, data: Path) -> None:
        self._folder = data / FOLDER

    def names(self) -> tuple[str, ...]:
        try:
            files = [path.name for path in self._folder.iterdir()]
        except OSError:
            return ()
        names = (name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX))
        return tuple(sorted(name for name in names if re.fullmatch(NAME, name)))

    def all(self) -> tuple[Repository, ...]:
        """Those that can be read, in the order of their names."""
        found = []
        for name in self.names():
            index = self._index(name)
            with suppress(RecordsUnavailable):
                if index.is_usable():
                    found.append(Repository(name, index.facts()))
        return tuple(found)

    def get(self, name: str) -> Index:
        """Raises NotFound with what is nearest."""
        known = self.names()
        if name not in known:
            near = get_close_matches(name, known, n=3)
            hint = (
                f"did you mean {', '.join(near)}?" if near else "`hearth repo add PATH` makes one"
            )
            raise NotFound(
                f"There is no repository '{name[:64]}' here.", param="repository", hint=hint
            )
        return self._index(name)

    def add(
        self, root: Path, name: str | None, *, tell: Callable[[int, int], None] | None = None
    ) -> tuple[str, Refreshed]:
        """Indexes a folder, or what changed in it since; its name is the folder's unless given.

        Raises InvalidRequest where it is no folder, and where the name is another folder's.
        """
        root = root.expanduser().resolve()
        if not root.is_dir():
            raise InvalidRequest(f"'{root}' is no folder.", param="path")
        name = name or _name_of(root)
        if not re.fullmatch(NAME, name):
            raise InvalidRequest(
                f"'{name[:64]}' is no name for a repository: letters, digits, '.', '_' and '-'.",
                param="name",
            )
        index = self._index(name)
        if name in self.names() and index.is_usable():
            if index.facts().root != root:
                raise InvalidRequest(
                    f"'{name}' is the name of {index.facts().root}.",
                    param="name",
                    hint="--name gives another one",
                )
        else:
            index = Index.create(index.path, root)
        return name, index.refresh(tell=tell)

    def remove(self, name: str) -> None:
        path = self.get(name).path
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    def _index(self, name: str) -> Index:
        return Index(self._folder / f"{name}{_SUFFIX}")


def same_place(one: str, other: str) -> bool:
    """Whether two addresses of git are one repository's: SSH or HTTPS, with `.git` or without."""
    return _place(one) == _place(other)


def _place(url: str) -> str:
    bare = re.sub(r"^[a-z+]+://", "", url.strip(), flags=re.IGNORECASE)
    bare = re.sub(r"^[^@/]*@", "", bare)
    return bare.replace(":", "/").rstrip("/").removesuffix(".git").lower()


def _name_of(root: Path) -> str:
    made = re.sub(r"[^A-Za-z0-9._-]+", "-", root.name).strip("-._")[:64]
    return made or "repository"
