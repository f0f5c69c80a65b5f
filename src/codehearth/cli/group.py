"""The verbs, in the order in which help shows them, each loaded when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

from codehearth import __version__

# Section -> verb -> the module that holds it; the command in it is called as the verb.
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Start here": {"up": "up", "run": "run"},
    "Serve": {"serve": "serve", "ps": "ps", "stop": "ps", "logs": "logs"},
    "Generate": {"complete": "complete", "connect": "connect", "repo": "repo"},
    "Models": {
        "ls": "ls",
        "show": "show",
        "fit": "fit",
        "pull": "pull",
        "rm": "rm",
        "bundle": "bundle",
        "unbundle": "unbundle",
    },
    "Lab": {
        "quantize": "quantize",
        "measure": "measure",
        "evaluate": "evaluate",
        "advise": "advise",
        "parity": "parity",
        "tune": "tune",
    },
    "Settle in": {
        "engines": "engines",
        "keys": "keys",
        "config": "config",
        "service": "service",
        "doctor": "doctor",
        "completion": "completion",
        "licenses": "licenses",
    },
}

_MODULES = {verb: module for section in SECTIONS.values() for verb, module in section.items()}

# What people type who come from other tools.
_SPELLINGS = {
    "list": "ls",
    "download": "pull",
    "get": "pull",
    "remove": "rm",
    "delete": "rm",
    "chat": "run",
    "ask": "run",
    "start": "serve",
    "server": "serve",
    "unload": "stop",
    "status": "ps",
    "info": "show",
    "inspect": "show",
    "key": "keys",
    "engine": "engines",
    "settings": "config",
    "log": "logs",
    "licences": "licenses",
    "daemon": "service",
    "check": "doctor",
    "pack": "bundle",
    "unpack": "unbundle",
    "infill": "complete",
    "editor": "connect",
    "editors": "connect",
    "index": "repo",
    "repos": "repo",
    "repository": "repo",
    "search": "repo",
    "quantise": "quantize",
    "convert": "quantize",
    "benchmark": "measure",
    "bench": "measure",
    "train": "tune",
    "finetune": "tune",
    "fine-tune": "tune",
    "eval": "evaluate",
}


class Verbs(click.Group):
    """A group that imports a verb's module when the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        module = import_module(f"codehearth.cli.{_MODULES[cmd_name]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word not in _MODULES and not word.startswith("-") and not ctx.resilient_parsing:
            raise _UnknownVerb(word, ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        wide = formatter.width - max(map(len, _MODULES)) - 6
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                rows = []
                for verb in verbs:
                    command = self.get_command(ctx, verb)
                    assert command is not None
                    rows.append((verb, command.get_short_help_str(wide)))
                formatter.write_dl(rows)


class _UnknownVerb(click.UsageError):
    """Names the verbs that may have been meant."""

    def __init__(self, word: str, context: click.Context) -> None:
        from difflib import get_close_matches

        super().__init__(f"There is no command '{word}'.", context)
        near = get_close_matches(word, _MODULES, n=2)
        spelled = _SPELLINGS.get(word)
        self.possibilities = [f"`hearth {verb}`" for verb in ([spelled] if spelled else near)]


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", message="hearth %(version)s")
@click.pass_context
def hearth(context: click.Context) -> None:
    """Code models on your own machine, behind one command and any OpenAI client.

    `hearth up` finds the best model that this machine can run, fetches it and serves it.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
