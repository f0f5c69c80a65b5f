"""Puts our entries into a client's own configuration without losing a word of it; pure.

Whatever was done to a text, it is read again: what comes out must be what was there, with our
entries added, and nothing else. Where that is not so, or where a comment would be lost, nothing
is written and the user pastes the lines.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Literal

from codehearth.errors import HearthError

MergeFormat = Literal["json", "toml", "yaml"]


class CannotMerge(HearthError):
    """A configuration that is left alone, with the reason."""

    exit_code = 1


def merged(text: str, addition: str, *, format: MergeFormat, list_key: str = "") -> str:
    """`text` with `addition` in it; `text` itself where all of it is there already.

    Raises CannotMerge.
    """
    if not text.strip():
        return addition
    if "\r\n" in text:  # as the file is written, so it stays
        plain = merged(text.replace("\r\n", "\n"), addition, format=format, list_key=list_key)
        return text if plain == text.replace("\r\n", "\n") else plain.replace("\n", "\r\n")
    before, ours = _read(text, format), _read(addition, format)
    if before is None:
        return text.rstrip("\n") + "\n" + addition
    wanted = _joined(before, ours, list_key=list_key)
    if wanted == before:
        return text
    made = _WAYS[format](text, before, ours, addition, list_key)
    if _read(made, format) != wanted:
        raise CannotMerge("The file is laid out in a way that cannot be changed safely.")
    return made


def _read(text: str, format: MergeFormat) -> Any:
    try:
        if format == "json":
            return json.loads(_without_comments(text))
        if format == "toml":
            return tomllib.loads(text)
        import yaml

        return yaml.safe_load(text)
    except Exception as error:
        if isinstance(error, ValueError) or type(error).__module__.startswith("yaml"):
            raise CannotMerge("The file cannot be read: it has a mistake in it.") from error
        raise


def _joined(before: Any, ours: Any, *, list_key: str = "") -> Any:
    """What shall come out: our keys added or changed, entries of a list by their name.

    With a `list_key`, a document that has content keeps all its other keys as they are.
    """
    if isinstance(before, dict) and isinstance(ours, dict):
        joined = dict(before)
        for key, value in ours.items():
            if list_key and key != list_key and key in before:
                continue
            joined[key] = _joined(before[key], value) if key in before else value
        return joined
    if isinstance(before, list) and isinstance(ours, list):
        names = {_name(entry) for entry in ours} - {None}
        return [entry for entry in before if _name(entry) not in names] + ours
    return ours


def _name(entry: Any) -> str | None:
    return entry.get("name") if isinstance(entry, dict) else None


# --- JSON: written anew where no comment is lost, else new keys are put in front ---


def _merge_json(text: str, before: Any, ours: Any, addition: str, list_key: str) -> str:
    if _is_plain_json(text):
        return json.dumps(_joined(before, ours), indent=_indent_of(text), ensure_ascii=False) + "\n"
    if not isinstance(before, dict) or not isinstance(ours, dict) or before.keys() & ours.keys():
        raise CannotMerge(
            "The file has comments, and writing its entries anew would lose them.",
            hint="paste the lines",
        )
    start = _first_brace(text) + 1
    inner = json.dumps(ours, indent=_indent_of(text), ensure_ascii=False)[1:].rstrip("}").rstrip()
    return text[:start] + inner + ("," if before else "") + text[start:]


def _is_plain_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _indent_of(text: str) -> int | str:
    found = re.search(r"\n([ \t]+)\S", text)
    if found is None:
        return 2
    return "\t" if found[1].startswith("\t") else len(found[1])


_JSON_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/|,(?=\s*[}\]])', re.DOTALL)


def _without_comments(text: str) -> str:
    """JSON as editors write it, without comments and commas at the end, at the same places."""

    def blank(found: re.Match[str]) -> str:
        part = found[0]
        return part if part.startswith('"') else re.sub(r"[^\n]", " ", part)

    once = _JSON_PARTS.sub(blank, text.lstrip("\ufeff"))
    return _JSON_PARTS.sub(blank, once)  # a comma that a comment followed


def _first_brace(text: str) -> int:
    return _without_comments(text).index("{")


# --- TOML: new tables go to the end ---


def _merge_toml(text: str, before: Any, ours: Any, addition: str, list_key: str) -> str:
    taken = _tables(before) & _tables(ours)
    if taken:
        raise CannotMerge(
            f"The file has a [{min(taken)}] with other values.", hint="change the lines there"
        )
    return text.rstrip("\n") + "\n\n" + addition


def _tables(document: Mapping[str, Any], prefix: str = "") -> set[str]:
    """The names of the innermost tables."""
    found: set[str] = set()
    for key, value in document.items():
        if isinstance(value, dict):
            inner = _tables(value, f"{prefix}{key}.")
            holds_values = any(not isinstance(one, dict) for one in value.values())
            found |= inner | ({f"{prefix}{key}"} if holds_values or not value else set())
    return found


# --- YAML: new keys go to the end, new entries to the front of their list ---


def _merge_yaml(text: str, before: Any, ours: Any, addition: str, list_key: str) -> str:
    if not isinstance(before, dict):
        raise CannotMerge("The file is not a table of settings.")
    if not list_key:
        taken = before.keys() & ours.keys()
        if taken:
            raise CannotMerge(
                f"The file sets {', '.join(sorted(taken))} already.", hint="change the lines there"
            )
        return text.rstrip("\n") + "\n" + addition
    entries = addition.partition(f"\n{list_key}:\n")[2]
    missing = [
        line
        for line in addition.partition(f"\n{list_key}:\n")[0].split("\n")
        if line and line.partition(":")[0] not in before
    ]
    if list_key not in before:
        lines = [*missing, f"{list_key}:"]
        return text.rstrip("\n") + "\n" + "\n".join(lines) + "\n" + entries
    if {_name(entry) for entry in before[list_key] or ()} & {_name(e) for e in ours[list_key]}:
        raise CannotMerge(
            "The file has entries for CodeHearth with other values.", hint="change the lines there"
        )
    return _with_entries(text, list_key, entries, missing)


def _with_entries(text: str, list_key: str, entries: str, missing: list[str]) -> str:
    """The entries behind the last one of the list, indented as those are."""
    lines = text.rstrip("\n").split("\n")
    at = next((i for i, line in enumerate(lines) if line.rstrip() == f"{list_key}:"), None)
    if at is None:
        raise CannotMerge(f"The file has '{list_key}' in a line of its own kind.")
    last = at + 1
    while last < len(lines) and (not lines[last].strip() or lines[last][0] in " -#"):
        last += 1
    while not lines[last - 1].strip() or lines[last - 1].startswith("#"):
        last -= 1
    dash = next((line for line in lines[at + 1 : last] if line.lstrip().startswith("- ")), "  - ")
    indent = dash[: len(dash) - len(dash.lstrip())]
    ours = [indent + line[2:] if line else line for line in entries.rstrip("\n").split("\n")]
    return "\n".join([*lines[:last], *ours, *lines[last:], *missing]) + "\n"


_WAYS = {"json": _merge_json, "toml": _merge_toml, "yaml": _merge_yaml}
