"""Options that several verbs share, and the flags that follow from the table of settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click
from click.shell_completion import CompletionItem

from codehearth.settings import Settings, parse, read_settings, setting_fields

_Command = TypeVar("_Command", bound=Callable[..., Any])

_SHORT = {"model": "-m"}
_METAVARS = {
    "text": "TEXT",
    "number": "N",
    "whole": "N",
    "path": "PATH",
    "size": "SIZE",
    "duration": "TIME",
    "names": "NAMES",
}


class SettingType(click.ParamType[Any]):
    """Reads a flag as the table of settings reads the same setting from the environment."""

    def __init__(self, setting: dataclasses.Field[Any]) -> None:
        self.name = str(setting.metadata["kind"])
        self._setting = setting.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises BadSetting, which names the flag."""
        if not isinstance(value, str):
            return value
        return parse(self._setting, value, source=f"--{self._setting.replace('_', '-')}")


def settings_options(*names: str) -> Callable[[_Command], _Command]:
    """The flags of these settings, or of all; a command gets None for what was not given."""

    def add(command: _Command) -> _Command:
        for setting in reversed(setting_fields()):
            if not names or setting.name in names:
                command = _option(setting)(command)
        return command

    return add


def _option(setting: dataclasses.Field[Any]) -> Callable[[_Command], _Command]:
    flag, facts = setting.name.replace("_", "-"), setting.metadata
    if facts["kind"] == "switch":
        return click.option(f"--{flag}/--no-{flag}", setting.name, default=None, help=facts["help"])
    declared = [f"--{flag}", setting.name]
    if setting.name in _SHORT:
        declared.insert(0, _SHORT[setting.name])
    if facts["choices"]:
        kind: Any = click.Choice(facts["choices"])
        return click.option(*declared, type=kind, help=facts["help"])
    return click.option(
        *declared,
        type=SettingType(setting),
        metavar=_METAVARS[facts["kind"]],
        help=facts["help"],
        shell_complete=complete_model_here if setting.name == "model" else None,
    )


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
json_lines_option = click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def complete_model_here(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What a shell offers for a model on this machine: names, and files once a path is begun."""
    from codehearth.cli.shelf import store_of

    if incomplete.startswith((".", "/", "~")):
        return [CompletionItem(incomplete, type="file")]
    names = [model.name for model in store_of(read_settings(flags={})).models()]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _complete_model_known(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The catalogue's names; after a colon the precisions that the named one can be had in."""
    from codehearth.models.catalogue import catalogue

    name, colon, _ = incomplete.partition(":")
    rows = catalogue()
    offered = list(rows)
    if colon:
        offered = [f"{name}:{one}" for one in rows[name].precisions] if name in rows else []
    return [CompletionItem(one) for one in offered if one.startswith(incomplete)]


def model_argument(
    *, of: Literal["here", "known"] = "here", required: bool = True, several: bool = False
) -> Callable[[_Command], _Command]:
    """`MODEL`; the shell completes it with models on this machine, or with the catalogue's."""
    complete = complete_model_here if of == "here" else _complete_model_known
    nargs = -1 if several else 1
    return click.argument("model", required=required, nargs=nargs, shell_complete=complete)


def repositories_here(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from codehearth.repo.shelf import Shelf

    names = Shelf(read_settings(flags={}).data).names()
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


repository_option = click.option(
    "--repo",
    "repository",
    metavar="NAME",
    shell_complete=repositories_here,
    help="Show the model what this repository holds of the question (`hearth repo add`).",
)


def settings_now() -> Settings:
    """The settings of a verb that has no flags for them."""
    return read_settings(flags={})
