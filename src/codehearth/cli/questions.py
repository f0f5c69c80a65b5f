"""Questions to whoever sits at the terminal."""

from __future__ import annotations

import click

from codehearth.cli.output import is_interactive


def agreed(question: str, *, yes: bool, default: bool = True) -> bool:
    """Whether the user says yes; with `yes` nobody is asked. Raises UsageError without a terminal.

    The question goes to standard error: standard output is for data.
    """
    if yes:
        return True
    if not is_interactive():
        raise click.UsageError(f"{question} Nobody can be asked here; add --yes.")
    return click.confirm(question, default=default, err=True)
