"""`hearth.1`, the manual page, written from the commands; docs/hearth.1 is its copy on disk.

Written in man(7), which groff and mandoc both read. One page for all verbs, as git has not and ssh
has: whoever types `man hearth` searches in it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from codehearth import __version__
from codehearth.cli.group import SECTIONS, hearth
from codehearth.cli.reach import VARIABLES
from codehearth.cli.reference import EXIT_CODES
from codehearth.settings import setting_fields

_DATE = "2026-11-26"  # when what it says last changed in substance


def manual() -> str:
    """The text of `hearth.1`."""
    context = click.Context(hearth, info_name="hearth")
    lines = [
        '.\\" Written by scripts/write_reference.py; change the code, not this file.',
        f'.TH HEARTH 1 "{_DATE}" "CodeHearth {__version__}" "User Commands"',
        ".SH NAME",
        "hearth \\- code models on your own machine",
        ".SH SYNOPSIS",
        ".B hearth",
        "\\fICOMMAND\\fR [\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...",
        ".SH DESCRIPTION",
        *_paragraphs(hearth.help or ""),
    ]
    for title, verbs in SECTIONS.items():
        lines.append(f".SH {_escaped(title.upper())}")
        for verb in verbs:
            command = hearth.get_command(context, verb)
            assert command is not None
            lines += _command(command, context)
    lines.append(".SH ENVIRONMENT")
    for name, what in VARIABLES.items():
        lines += [".TP", f".B {name}", _escaped(what)]
    for setting in setting_fields():
        lines += [
            ".TP",
            f".B HEARTH_{setting.name.upper()}",
            _escaped(_plain(setting.metadata["help"])),
        ]
    lines.append(".SH EXIT STATUS")
    for code, meaning in EXIT_CODES.items():
        lines += [".TP", f".B {code}", _escaped(meaning)]
    return "\n".join(lines) + "\n"


def _command(command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=command.name, parent=parent)
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    yield f".SS {_escaped(usage)}"
    yield from _paragraphs("\n\n".join(filter(None, (command.help, command.epilog))))
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            names = ", ".join((*option.opts, *option.secondary_opts))
            value = "" if option.is_flag else f" {option.make_metavar(context)}"
            yield ".TP"
            yield f"\\fB{_escaped(names)}\\fR{_escaped(value)}"
            yield _escaped(_plain(option.help or ""))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _command(child, context)


def _paragraphs(text: str) -> Iterator[str]:
    is_first = True
    for part in inspect.cleandoc(text).split("\n\n"):
        if not is_first:
            yield ".PP"
        is_first = False
        if part.startswith("\b\n"):
            yield ".nf"
            yield from (_escaped(line) for line in part.split("\n")[1:])
            yield ".fi"
        else:
            yield _escaped(_plain(" ".join(part.split())))


def _plain(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"\1", text)


def _escaped(text: str) -> str:
    """Text that roff takes as it stands: no requests, no escapes, hyphens that can be copied."""
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe
