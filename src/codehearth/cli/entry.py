"""From `hearth ...` to an exit code: every way that a command can end, in one place.

    0 ok   1 failure   2 usage   3 does not fit or hardware is missing   4 not found
    5 server unreachable   6 authentication   130 interrupted   143 terminated

An error is `error: ...`, an empty line and `hint: ...` on standard error.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import click

from codehearth.cli.group import hearth
from codehearth.cli.output import prepare_streams, say, tell_error
from codehearth.errors import EngineFailed, HearthError

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

COMPLETION_VARIABLE = "_HEARTH_COMPLETE"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and ends the process."""
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # while an error was being told
        code = EXIT_INTERRUPTED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end is near; an impatient second one is late
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_standard_output()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command. Whatever happened has been told."""
    prepare_streams()
    _end_softly_on(signal.SIGTERM, signal.SIGHUP)
    try:
        return _invoke(list(arguments))
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `hearth ls | head`: the reader has had enough
        _forget_standard_output()
        return 0
    except click.UsageError as error:
        tell_error(_usage_message(error), _usage_hint(error))
        return EXIT_USAGE
    except click.ClickException as error:
        tell_error(error.format_message())
        return error.exit_code
    except HearthError as error:
        tell_error(error.message, error.hint)
        if isinstance(error, EngineFailed) and error.log_tail:
            say(f"\nthe engine's last lines:\n{error.log_tail}")
        return error.exit_code
    except OSError as error:
        tell_error(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        return EXIT_FAILURE
    except Exception as error:  # noqa: BLE001 - the last door: a user is not shown a traceback
        return _tell_mistake(error)


def _invoke(arguments: list[str]) -> int:
    instruction = os.environ.get(COMPLETION_VARIABLE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(hearth, {}, "hearth", COMPLETION_VARIABLE, instruction)
    try:
        with hearth.make_context("hearth", arguments) as context:
            hearth.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return 0


def _usage_message(error: click.UsageError) -> str:
    """Click's message, without the suggestions: those are the hint."""
    if isinstance(error, click.NoSuchOption):
        return error.message
    return error.format_message()


def _usage_hint(error: click.UsageError) -> str:
    possibilities = getattr(error, "possibilities", None)
    if possibilities:
        return f"did you mean {' or '.join(possibilities)}?"
    command = error.ctx.command_path if error.ctx else "hearth"
    return f"`{command} --help` shows how it is used"


def _tell_mistake(error: Exception) -> int:
    """A mistake of ours. The traceback is for those who asked for it."""
    if os.environ.get("HEARTH_LOG_LEVEL") == "debug":
        import traceback

        say("".join(traceback.format_exception(error)))
    tell_error(
        f"hearth made a mistake: {type(error).__name__}: {error}",
        "please report it; with HEARTH_LOG_LEVEL=debug the whole story is shown",
    )
    return EXIT_FAILURE


def _end_softly_on(*signals: signal.Signals) -> None:
    """So that a terminated command still ends what it started. `nohup` keeps its effect."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for one in signals:
        if signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, end)


def _forget_standard_output() -> None:
    """Python would complain at exit that it cannot flush to a pipe that nobody reads."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
