"""`hearth config`: each setting with its value and where that came from."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from codehearth.cli.options import json_option, settings_now
from codehearth.cli.output import print_data, print_json, print_table, say, size
from codehearth.errors import BadSetting
from codehearth.settings import (
    FOREVER_S,
    parse,
    read_settings,
    setting_fields,
    user_config_path,
)


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def config(context: click.Context, as_json: bool) -> None:
    """Show the settings, and where each value comes from.

    Later ones win: defaults, the user's file (`hearth config path`), ./hearth.toml, environment
    (HEARTH_PORT=8000), flags.
    """
    if context.invoked_subcommand is not None:
        return
    settings = settings_now()
    found = {known.name: _source(known.name, _tables()) for known in setting_fields()}
    if as_json:
        values = {name: _plain(getattr(settings, name)) for name in found}
        print_json({name: {"value": values[name], "source": found[name]} for name in found})
        return
    rows = [(name, words(name, getattr(settings, name)), source) for name, source in found.items()]
    print_table(("SETTING", "VALUE", "FROM"), rows)


@config.command()
@click.argument("name")
def get(name: str) -> None:
    """Print one setting's value."""
    _known(name)
    value = _plain(getattr(settings_now(), name))
    print_data(value if isinstance(value, str) else json.dumps(value))


@config.command()
def path() -> None:
    """Print where the user's file is, whether it exists or not."""
    print_data(str(user_config_path()))


@config.command("set")
@click.argument("name")
@click.argument("value")
def set_value(name: str, value: str) -> None:
    """Write a setting into the user's file."""
    kind = _known(name).metadata["kind"]
    parsed = parse(name, value, source=f"'{name}'")
    read_settings(flags={name: parsed})  # raises where the value is out of bounds
    file = user_config_path()
    _write(file, name, _toml_value(kind, parsed, value))
    say(f"{name} = {words(name, parsed)} is set in {file}.")
    source = _source(name, _tables())
    if source != str(file):
        say(f"It has no effect now, as {source} wins over the file.")


def words(name: str, value: Any) -> str:
    """A value as people read it."""
    kind = next(known for known in setting_fields() if known.name == name).metadata["kind"]
    if kind == "switch":
        return "yes" if value else "no"
    if kind == "names":
        return ", ".join(value)
    if kind == "size":
        return size(value) if value else "0"
    if kind == "duration":
        return "for ever" if value == FOREVER_S else f"{value:g}s"
    return str(value)


def _known(name: str) -> dataclasses.Field[Any]:
    for known in setting_fields():
        if known.name == name:
            return known
    from difflib import get_close_matches

    near = get_close_matches(name, [known.name for known in setting_fields()])
    raise BadSetting(
        f"There is no setting '{name}'.",
        hint=f"did you mean {' or '.join(near)}?" if near else "`hearth config` shows all",
    )


def _tables() -> Mapping[Path, Mapping[str, Any]]:
    """The files that hold settings, the stronger one first."""
    found = {}
    for file in (Path("hearth.toml"), user_config_path()):
        try:
            found[file] = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError:
            found[file] = {}
    return found


def _source(name: str, tables: Mapping[Path, Mapping[str, Any]]) -> str:
    variable = f"HEARTH_{name.upper()}"
    if os.environ.get(variable):
        return variable
    holding = (str(file) for file, table in tables.items() if name in table)
    return next(holding, "default")


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    return str(value) if isinstance(value, Path) else value


def _toml_value(kind: str, value: Any, text: str) -> str:
    if kind in ("switch", "whole", "number"):
        return json.dumps(value)
    if kind == "names":
        return json.dumps(list(value), ensure_ascii=False)
    # Sizes and durations are kept as they were written: 8GiB says more than 8589934592.
    return json.dumps(text.strip(), ensure_ascii=False)


def _write(file: Path, name: str, value: str) -> None:
    """Sets one line and leaves all others, comments too; raises BadSetting where that fails."""
    try:
        before = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        before = ""
    after = with_line(before, name, value)
    try:
        wanted = {**tomllib.loads(before), **tomllib.loads(f"{name} = {value}")}
        is_right = tomllib.loads(after) == wanted
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        raise BadSetting(
            f"{file} cannot be changed safely.", hint=f"write `{name} = {value}` there"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(after, encoding="utf-8")
    fresh.replace(file)


def with_line(text: str, name: str, value: str) -> str:
    """TOML with one key set: its line replaced where there is one, added at the end otherwise."""
    line = f"{name} = {value}"
    pattern = re.compile(rf"^[ \t]*{re.escape(name)}[ \t]*=.*$", re.MULTILINE)
    if pattern.search(text):
        return pattern.sub(lambda _: line, text, count=1)
    separator = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{separator}{line}\n"
