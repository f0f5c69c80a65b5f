"""`hearth complete`: what belongs at a place in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codehearth.cli.asking import Sampling, sampling_options
from codehearth.cli.options import json_option, settings_now
from codehearth.cli.output import print_data, print_json, say
from codehearth.cli.reach import client_of, find_server, found_or_started
from codehearth.cli.wanted import available
from codehearth.cli.words import Place, place_in, split_at
from codehearth.errors import ContextLengthExceeded, InvalidRequest, NotFound, Unsupported

if TYPE_CHECKING:
    from codehearth.client import Answer, Client

# What is near matters most: this much before and after the place is sent at first.
_MAX_PREFIX = 24_000
_MAX_SUFFIX = 8_000
_MAX_TRIES = 6


@click.command()
@click.argument("place", metavar="[FILE[:LINE[:COL]]]", default="-")
@click.option("-m", "--model", help="The model; without it the server's default.")
@sampling_options(max_tokens=128)
@json_option
def complete(place: str, model: str | None, as_json: bool, **sampling: Any) -> None:
    """Print what a model would write at a place in a file.

    Lines and columns count from 1. Without a column it is the end of the line, without a line the
    end of the file; without a file, or with -, standard input is read.

    \b
      hearth complete app.py:42
      hearth complete app.py:42:9 --json
      head -20 app.py | hearth complete
    """
    settings = settings_now()
    where = place_in(place, exists=lambda name: name == "-" or Path(name).is_file())
    prefix, suffix = split_at(_text_of(where), where)
    server = find_server(settings)
    name = available(settings, server, model, yes=False)
    with (
        found_or_started(settings, server, model=name) as at,
        client_of(at) as client,
    ):
        answer = filled(client, prefix, suffix, name if server else None, Sampling(**sampling))
    if as_json:
        print_json(_as_json(where, answer))
    else:
        print_data(answer.text, newline=sys.stdout.isatty())


def filled(
    client: Client, prefix: str, suffix: str, model: str | None, sampling: Sampling
) -> Answer:
    """What stands between prefix and suffix, of which only as much is sent as the model takes.

    A model that cannot fill in continues the prefix; that is said.
    """
    prefix, suffix = prefix[-_MAX_PREFIX:], suffix[:_MAX_SUFFIX]
    for _ in range(_MAX_TRIES):
        try:
            return client.complete(prefix, suffix=suffix or None, model=model, **sampling.options())
        except ContextLengthExceeded as error:
            keep = _kept_share(error)
            prefix = prefix[len(prefix) - int(len(prefix) * keep) :]
            suffix = suffix[: int(len(suffix) * keep)]
            say("The file is longer than the model's context; what is nearest was sent.")
        except Unsupported as error:
            if not suffix:
                raise
            suffix = ""
            say(f"{error.message} What follows the place was left out.")
    raise InvalidRequest("The place has more text around it than the model's context holds.")


def _kept_share(error: ContextLengthExceeded) -> float:
    """How much of the text to keep, so that the rest of the context is free for the answer."""
    share = 0.75 * error.num_context_tokens / max(error.num_prompt_tokens, 1)
    return min(share, 0.75)


def _text_of(place: Place) -> str:
    if place.file == "-":
        data = sys.stdin.buffer.read()
    else:
        try:
            data = Path(place.file).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"There is no file '{place.file}'.") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"'{place.file}' is not text in UTF-8.") from error


def _as_json(place: Place, answer: Answer) -> dict[str, Any]:
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "completion": answer.text,
        "model": answer.model,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
    }
