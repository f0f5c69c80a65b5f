"""`hearth licenses`: under which licence each package here is that CodeHearth needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata

import click

from codehearth.cli.options import json_option
from codehearth.cli.output import print_data, print_json, print_table

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_WIDE = 60


@dataclass(frozen=True)
class Licensed:
    """One installed package. `license` is what its author wrote, `files` its texts."""

    name: str
    version: str
    license: str
    home: str
    files: tuple[str, ...]


@click.command()
@click.option("--texts", is_flag=True, help="Print the licences' texts too.")
@json_option
def licenses(texts: bool, as_json: bool) -> None:
    """List the licences of CodeHearth and of every package it needs.

    What is installed is listed, as its own metadata says; engines' environments are their own.
    The model that is packaged is described in `hearth show starter`.
    """
    found = list(licensed())
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [(one.name, one.version, one.license[:_WIDE], one.home) for one in found]
    print_table(("PACKAGE", "VERSION", "LICENCE", "HOME"), rows)
    if texts:
        for one in found:
            for text in _texts(one):
                print_data(f"\n==== {one.name} {one.version} ====\n\n{text.strip()}")


def licensed(root: str = "codehearth") -> Iterator[Licensed]:
    """`root` and everything that it needs and that is here, by name."""
    for name in sorted(_needed(root)):
        package = metadata.distribution(name)
        files = [str(file) for file in package.files or () if _is_text(file.name)]
        yield Licensed(
            name=package.metadata["Name"],
            version=package.version,
            license=_license(package.metadata),
            home=_home(package.metadata),
            files=tuple(files),
        )


def _needed(root: str) -> set[str]:
    """Names of what is needed and installed; extras are not followed."""
    seen: set[str] = set()
    todo = [root]
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in seen:
            continue
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # needed on another system
            continue
        seen.add(name)
        for requirement in requirements:
            found = _NAME.match(requirement)
            if found and "extra ==" not in requirement:
                todo.append(found[0])
    return seen


def _license(facts: metadata.PackageMetadata) -> str:
    """The expression, else the classifiers, else the first line of the old field."""
    if expression := _field(facts, "License-Expression"):
        return expression
    trove = [
        line.rpartition(" :: ")[2]
        for line in facts.get_all("Classifier") or ()
        if line.startswith("License :: ")
    ]
    if trove:
        return ", ".join(trove)
    lines = _field(facts, "License").strip().splitlines()
    return lines[0] if lines else "not stated"


def _home(facts: metadata.PackageMetadata) -> str:
    urls: dict[str, str] = dict(
        line.split(", ", 1) for line in facts.get_all("Project-URL") or () if ", " in line
    )
    named = {label.lower(): url for label, url in urls.items()}
    for label in ("homepage", "repository", "source", "source code"):
        if label in named:
            return named[label]
    return _field(facts, "Home-page") or next(iter(urls.values()), "")


def _field(facts: metadata.PackageMetadata, name: str) -> str:
    found: list[str] = facts.get_all(name) or []
    return found[0] if found else ""


def _is_text(name: str) -> bool:
    return name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))


def _texts(one: Licensed) -> Iterator[str]:
    package = metadata.distribution(one.name)
    for file in one.files:
        text = package.read_text(file) or _read(package, file)
        if text:
            yield text


def _read(package: metadata.Distribution, file: str) -> str:
    from pathlib import Path

    try:
        return Path(str(package.locate_file(file))).read_text("utf-8", "replace")
    except OSError:
        return ""
