"""The languages: rows of `data/languages.toml`, found by name, alias, extension or file name."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from codehearth.errors import InvalidRequest

Blocks = Literal["braces", "indentation", "words"]
StatementEnd = Literal["line", ";", "only ;"]

_FIRST_LINE = re.compile(r"#!\s*(?:\S*/)?(?:env\s+(?:-S\s+)?)?([A-Za-z]+)")


@dataclass(frozen=True)
class Language:
    """`comment` starts a line comment; a closing mark follows it after a blank.

    What the fields mean stands at the top of `languages.toml`.
    """

    name: str
    comment: str
    extensions: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    file_names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    trained_tag_line: str = ""
    quotes: tuple[str, ...] = ('"',)
    blocks: Blocks = "words"
    statement: StatementEnd | None = None

    @property
    def comment_marks(self) -> tuple[str, str]:
        """What opens and what closes a comment; nothing closes one that ends with its line."""
        opening, _, closing = self.comment.partition(" ")
        return opening, closing

    @property
    def tag_line(self) -> str:
        """The line that tells CodeGeeX2 and its kin the language: `# language: Python`."""
        opening, closing = self.comment_marks
        made = f"{opening} language: {self.name}{' ' + closing if closing else ''}"
        return self.trained_tag_line or made

    def tagged(self, prompt: str) -> str:
        """A prompt under the tag line, as CodeGeeX2 was trained."""
        return f"{self.tag_line}\n{prompt}"


@cache
def languages() -> Mapping[str, Language]:
    """All languages by their lower-case name."""
    table = tomllib.loads((files("codehearth.data") / "languages.toml").read_text("utf-8"))
    return {
        name.lower(): Language(
            name=name,
            comment=row["comment"],
            extensions=tuple(row.get("extensions", ())),
            also=tuple(row.get("also", ())),
            file_names=tuple(row.get("file_names", ())),
            aliases=tuple(row.get("aliases", ())),
            trained_tag_line=row.get("tag_line", ""),
            quotes=tuple(row.get("quotes", ('"',))),
            blocks=row.get("blocks", "braces" if row["comment"] == "//" else "words"),
            statement=row.get("statement"),
        )
        for name, row in table.items()
    }


def find_language(text: str) -> Language:
    """The language of a name, alias or extension; raises InvalidRequest with the nearest names."""
    found = language_named(text)
    if found:
        return found
    near = difflib.get_close_matches(text.strip().lower(), languages(), n=3)
    hint = f"did you mean {', '.join(languages()[name].name for name in near)}?" if near else None
    raise InvalidRequest(f"The language '{text[:40]}' is not known.", param="lang", hint=hint)


def language_named(text: str | None) -> Language | None:
    """The language of a name, alias or extension; None where it is not known."""
    wanted = (text or "").strip().lower()
    by_name = _by_any_name()
    return by_name.get(wanted) or by_name.get(wanted.replace(" ", "-")) or _by_extension(wanted)


def language_of_file(path: str | None, *, text: str = "") -> Language | None:
    """The language that a file's name tells, else its first line; None where neither does.

    The whole name comes first (`CMakeLists.txt`), then the extension, then what stands before the
    extension (`Dockerfile.dev`), then the program behind `#!`.
    """
    name = (path or "").replace("\\", "/").rpartition("/")[2]
    stem, _, extension = name.rpartition(".")
    by_file = _by_file_name()
    found = by_file.get(name) or (_by_extension(extension.lower()) if stem else None)
    if found is None and stem:
        found = by_file.get(name.partition(".")[0])
    if found is None and (program := _FIRST_LINE.match(text)):
        found = language_named(program[1])
    return found


def _by_extension(extension: str) -> Language | None:
    return _extensions().get("." + extension.removeprefix("."))


@cache
def _by_any_name() -> Mapping[str, Language]:
    names: dict[str, Language] = {}
    for language in languages().values():
        for name in (language.name, *language.aliases):
            names.setdefault(name.lower(), language)
    return names


@cache
def _extensions() -> Mapping[str, Language]:
    return {
        extension: language
        for language in languages().values()
        for extension in language.extensions
    }


@cache
def _by_file_name() -> Mapping[str, Language]:
    return {name: language for language in languages().values() for name in language.file_names}
