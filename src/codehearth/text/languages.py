"""The languages: rows of `data/languages.toml`, found by name, alias or file extension."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from codehearth.errors import InvalidRequest


@dataclass(frozen=True)
class Language:
    """`comment` starts a line comment; a closing mark follows it after a blank."""

    name: str
    comment: str
    extensions: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def tag_line(self) -> str:
        """The line that tells CodeGeeX2 and its kin the language: `# language: Python`."""
        opening, _, closing = self.comment.partition(" ")
        return f"{opening} language: {self.name}{' ' + closing if closing else ''}"


@cache
def languages() -> Mapping[str, Language]:
    """All languages by their lower-case name."""
    table = tomllib.loads((files("codehearth.data") / "languages.toml").read_text("utf-8"))
    return {
        name.lower(): Language(
            name=name,
            comment=row["comment"],
            extensions=tuple(row.get("extensions", ())),
            aliases=tuple(row.get("aliases", ())),
        )
        for name, row in table.items()
    }


def find_language(text: str) -> Language:
    """The language of a name, alias or extension; raises InvalidRequest with the nearest names."""
    found = language_named(text)
    if found:
        return found
    wanted = text.strip().lower()
    near = difflib.get_close_matches(wanted, languages(), n=3)
    hint = f"did you mean {', '.join(languages()[name].name for name in near)}?" if near else None
    raise InvalidRequest(f"The language '{text[:40]}' is not known.", param="lang", hint=hint)


def language_named(text: str | None) -> Language | None:
    """The language of a name, alias or extension; None where it is not known."""
    wanted = (text or "").strip().lower()
    return _by_any_name().get(wanted) or _by_any_name().get(wanted.removeprefix("."))


def language_of_file(path: str | None) -> Language | None:
    """The language that a file's name tells; None where it tells none."""
    name = (path or "").replace("\\", "/").rpartition("/")[2]
    _, dot, extension = name.rpartition(".")
    return _by_any_name().get(extension.lower()) if dot else None


@cache
def _by_any_name() -> Mapping[str, Language]:
    names: dict[str, Language] = {}
    for language in languages().values():
        for name in (language.name, *language.aliases, *language.extensions):
            names.setdefault(name.lower().removeprefix("."), language)
    return names
