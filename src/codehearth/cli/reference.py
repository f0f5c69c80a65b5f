"""`docs/cli.md` and `docs/settings.md`, written from the commands and the table of settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import click

from codehearth.cli.group import SECTIONS, hearth
from codehearth.cli.reach import VARIABLES
from codehearth.errors import HearthError
from codehearth.settings import Settings, setting_fields

# A text of the reference in the language of its page; `str` leaves it in English.
Said = Callable[[str], str]

_WRITTEN = "<!-- Written by scripts/write_reference.py; change the code, not this file. -->"

EXIT_CODES = {
    0: "done",
    1: "failed",
    2: "used wrongly: an option, a setting, a request that cannot be answered",
    3: "does not fit, or the hardware or engine is missing",
    4: "not found: a model, a key, a log",
    5: "no server answers",
    6: "not let in: no key, or one that may not do this",
    130: "interrupted by Ctrl-C",
}


def command_page(said: Said = str) -> str:
    """`docs/cli.md`."""
    context = click.Context(hearth, info_name="hearth")
    lines = [
        f"# {said('Commands')}",
        "",
        _WRITTEN,
        "",
        said(
            "Data goes to standard output, everything else to standard error. `--json` gives one "
            "JSON document, or one a line where it is said. Without a terminal nothing is asked "
            "and nothing is coloured. Every command has `--help`."
        ),
        "",
    ]
    for title, verbs in SECTIONS.items():
        names = ", ".join(f"[`{verb}`](#hearth-{verb})" for verb in verbs)
        lines.append(f"- {said(title)}: {names}")
    for verbs in SECTIONS.values():
        for verb in verbs:
            command = hearth.get_command(context, verb)
            assert command is not None
            lines += ["", *_command(command, context, said, level=2)]
    return "\n".join([*lines, "", *_exit_codes(said), "", *_variables(said)]) + "\n"


def settings_page(said: Said = str) -> str:
    """`docs/settings.md`."""
    lines = [
        f"# {said('Settings')}",
        "",
        _WRITTEN,
        "",
        said(
            "Each setting can be written into `hearth.toml` (`hearth config path` says where the "
            "user's file is, `./hearth.toml` may be beside a project), given as an environment "
            "variable, or as a flag of `hearth serve`. Later ones win: defaults, the user's file, "
            "`./hearth.toml`, environment, flags. `hearth config` shows what holds and why."
        ),
        "",
        said(
            "Settings marked * are not taken from `./hearth.toml`: that file may come with a "
            "stranger's project."
        ),
        "",
        said("| setting | variable | flag | default | what it does |"),
        "| --- | --- | --- | --- | --- |",
    ]
    for setting in setting_fields():
        facts, name = setting.metadata, setting.name
        flag = f"`--{name.replace('_', '-')}`"
        if facts["kind"] == "switch":
            flag += f", `--no-{name.replace('_', '-')}`"
        star = "*" if facts["is_trusted_only"] else ""
        what = said(facts["help"]) + _bounds(setting.name, said)
        default = _default(setting.name)
        lines.append(f"| `{name}`{star} | `HEARTH_{name.upper()}` | {flag} | {default} | {what} |")
    return "\n".join(lines) + "\n"


def _command(
    command: click.Command, parent: click.Context, said: Said, *, level: int
) -> Iterator[str]:
    context = click.Context(command, info_name=command.name, parent=parent)
    yield f"{'#' * level} {context.command_path}"
    yield ""
    yield f"    {' '.join((context.command_path, *command.collect_usage_pieces(context)))}"
    yield ""
    yield from _prose(command, said)
    options = [param for param in command.params if isinstance(param, click.Option)]
    if options:
        yield ""
        yield said("| option | what it does |")
        yield "| --- | --- |"
        for option in options:
            yield _option(option, said)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield ""
            yield from _command(child, context, said, level=level + 1)


def _prose(command: click.Command, said: Said) -> Iterator[str]:
    """The help text; what click must not rewrap is an example."""
    text = inspect.cleandoc(command.help or "")
    parts = [*text.split("\n\n"), *inspect.cleandoc(command.epilog or "").split("\n\n")]
    is_first = True
    for part in filter(None, parts):
        if not is_first:
            yield ""
        is_first = False
        if part.startswith("\b\n"):
            yield from ("    " + line.strip() for line in part.split("\n")[1:])
        else:
            yield said(" ".join(part.split()))


def _option(option: click.Option, said: Said) -> str:
    """One line of a table, the same whatever click's own help looks like."""
    names = ", ".join(sorted((*option.opts, *option.secondary_opts), key=len))
    if not option.is_flag:
        names += f" {_metavar(option)}"
    default = f" {said('Default: {}.').format(option.default)}" if option.show_default else ""
    what = said(option.help or "").replace("|", " or ")
    return f"| `{names}` | {what}{default} |"


def _metavar(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return " or ".join(option.type.choices)
    return option.metavar or option.type.name.upper()


def _exit_codes(said: Said) -> Iterator[str]:
    yield f"## {said('Exit codes')}"
    yield ""
    yield said("| code | meaning | errors |")
    yield "| --- | --- | --- |"
    for code, meaning in EXIT_CODES.items():
        names = sorted({known.__name__ for known in _tree(HearthError) if known.exit_code == code})
        yield f"| {code} | {said(meaning)} | {', '.join(f'`{name}`' for name in names)} |"


def _variables(said: Said) -> Iterator[str]:
    yield f"## {said('Environment')}"
    yield ""
    yield said("Settings have variables of their own, see [settings](settings.md). Besides:")
    yield ""
    yield said("| variable | what it does |")
    yield "| --- | --- |"
    for name, what in VARIABLES.items():
        yield f"| `{name}` | {said(what)} |"


def _tree(root: type[HearthError]) -> Iterator[type[HearthError]]:
    """The classes of `errors.py`; a room may have narrower ones of its own, which it translates."""
    yield root
    for branch in root.__subclasses__():
        if branch.__module__ == root.__module__:
            yield from _tree(branch)


def _default(name: str) -> str:
    if name == "data":
        return "`$XDG_DATA_HOME/hearth`"
    from codehearth.cli.config import words

    text = words(name, getattr(Settings(), name))
    return f"`{text}`" if text else ""


def _bounds(name: str, said: Said) -> str:
    facts = next(known for known in setting_fields() if known.name == name).metadata
    if facts["choices"]:
        choices = ", ".join(f"`{choice}`" for choice in facts["choices"])
        return " " + said("One of {}.").format(choices)
    low, high = facts["low"], facts["high"]
    if low is not None and high is not None:
        return " " + said("{} to {}.").format(f"{low:.15g}", f"{high:.15g}")
    return ""
