"""`hearth complete`: what belongs at a place in a file."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from codehearth.cli.asking import Sampling, sampling_options
from codehearth.cli.options import (
    complete_model_here,
    json_option,
    repository_option,
    settings_now,
)
from codehearth.cli.output import print_data, print_json, say
from codehearth.cli.reach import Server, client_of, find_server, found_or_started
from codehearth.cli.wanted import available
from codehearth.cli.words import Place, place_in, split_at
from codehearth.errors import ContextLengthExceeded, InvalidRequest, NotFound, Unsupported

if TYPE_CHECKING:
    from collections.abc import Generator

    from codehearth.client import Client, Piece, Usage
    from codehearth.text.fim import Fim

# What is near matters most: so much around the place is sent at first.
_MAX_CHARACTERS = 32_000
_MAX_FILE_BYTES = 1 << 26
_MAX_TRIES = 6


@dataclass(frozen=True)
class Completion:
    """An answer up to where it ends, and why it ended there."""

    model: str
    text: str
    finish_reason: str
    usage: Usage | None
    """None where the answer ended before the server counted."""


@click.command()
@click.argument("place", metavar="[FILE[:LINE[:COL]]]", default="-")
@click.option(
    "-m",
    "--model",
    shell_complete=complete_model_here,
    help="The model; without it the server's default.",
)
@click.option("--language", metavar="NAME", help="The language, where the file does not tell it.")
@repository_option
@sampling_options(max_tokens=256)
@json_option
def complete(
    place: str,
    model: str | None,
    language: str | None,
    repository: str | None,
    as_json: bool,
    **sampling: Any,
) -> None:
    """Print what a model would write at a place in a file.

    Lines and columns count from 1. Without a column it is the end of the line, without a line the
    end of the file; without a file, or with -, standard input is read. The answer ends where the
    statement, block or paragraph at the place does.

    \b
      hearth complete app.py:42
      hearth complete app.py:42:9 --json
      head -20 app.py | hearth complete - --language python
    """
    settings = settings_now()
    where = place_in(place, exists=lambda name: name == "-" or Path(name).is_file())
    fim = _fim_at(where, language)
    server = find_server(settings)
    name = available(settings, server, model, yes=False)
    with (
        found_or_started(settings, server, model=name) as at,
        client_of(at) as client,
    ):
        made = filled(
            client,
            fim,
            name if server else None,
            Sampling(**sampling),
            at=at,
            repository=repository,
        )
    if as_json:
        print_json(_as_json(where, fim, made))
    else:
        print_data(made.text, newline=sys.stdout.isatty())


def filled(
    client: Client,
    fim: Fim,
    model: str | None,
    sampling: Sampling,
    *,
    at: Server,
    repository: str | None = None,
) -> Completion:
    """What stands at the place; only as much around it is sent as the model takes.

    A model that cannot fill in continues the prefix; that is said.
    """
    from codehearth.text.fim import Fim, fit

    budget = _MAX_CHARACTERS
    for _ in range(_MAX_TRIES):
        fitted = fit(fim, budget)
        try:
            made = _ask(client, fitted.fim, model, sampling, at=at, repository=repository)
        except ContextLengthExceeded as error:
            size = len(fitted.fim.prefix) + len(fitted.fim.suffix)
            budget = int(size * _kept_share(error))
        except Unsupported as error:
            if not fim.suffix:
                raise
            fim = Fim(fim.prefix, "", path=fim.path, language=fim.language)
            say(f"{error.message} What follows the place was left out.")
        else:
            if budget < _MAX_CHARACTERS:
                say(f"The file is longer than the model's context; not sent: {fitted}.")
            return made
    raise InvalidRequest("The place has more text around it than the model's context holds.")


def _ask(
    client: Client,
    fim: Fim,
    model: str | None,
    sampling: Sampling,
    *,
    at: Server,
    repository: str | None,
) -> Completion:
    """Reads the answer until it ends; then the server stops the model."""
    from codehearth.client import gathered
    from codehearth.text.endings import Cutter, ending_of

    # Another server may refuse fields that only ours knows.
    path = fim.path if fim.path and not Path(fim.path).is_absolute() else None
    language = fim.language.name if fim.language else None
    known = {"language": language, "filepath": path} if at.is_own else {}
    known["repository"] = repository
    cutter = Cutter(ending_of(fim, stops=sampling.stop), fim.prefix, fim.suffix)
    text = ""
    pieces: list[Piece] = []
    asked = client.stream_completion(
        fim.prefix, suffix=fim.suffix or None, model=model, **sampling.options(), **known
    )
    with closing(cast("Generator[Piece]", asked)):
        for piece in asked:
            pieces.append(piece)
            text += cutter.feed(piece.text)
            if cutter.is_done:
                break
    text += cutter.finish()
    answer = gathered(pieces)
    return Completion(
        model=answer.model,
        text=text,
        finish_reason="stop" if cutter.is_done else answer.finish_reason,
        usage=next((piece.usage for piece in reversed(pieces) if piece.usage), None),
    )


def _kept_share(error: ContextLengthExceeded) -> float:
    """How much of the text to keep, so that the rest of the context is free for the answer."""
    share = 0.75 * error.num_context_tokens / max(error.num_prompt_tokens, 1)
    return min(share, 0.75)


def _fim_at(place: Place, language: str | None) -> Fim:
    """What stands around the place, as models know it: with line feeds."""
    from codehearth.text.fim import Fim
    from codehearth.text.languages import find_language, language_of_file

    given = find_language(language) if language else None
    text = _text_of(place)
    prefix, suffix = split_at(text, place)
    path = None if place.file == "-" else place.file
    return Fim(
        prefix.replace("\r\n", "\n"),
        suffix.replace("\r\n", "\n"),
        path=path,
        language=given or language_of_file(path, text=text),
    )


def _text_of(place: Place) -> str:
    """Raises NotFound, and InvalidRequest for what holds no text."""
    if place.file == "-":
        named, data = "Standard input", sys.stdin.buffer.read(_MAX_FILE_BYTES + 1)
    else:
        named, data = f"'{place.file}'", _content_of(place.file)
    if len(data) > _MAX_FILE_BYTES:
        raise InvalidRequest(f"{named} has more than {_MAX_FILE_BYTES >> 20} MiB.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{named} is not text in UTF-8.") from error
    if "\0" in text:
        raise InvalidRequest(f"{named} is a binary file.")
    if not text.strip():
        raise InvalidRequest(
            f"{named} is empty: there is nothing to go on from.",
            hint="begin with a comment that says what is wanted",
        )
    return text


def _content_of(name: str) -> bytes:
    path = Path(name)
    if path.is_dir():
        raise InvalidRequest(f"'{name}' is a folder.", hint="name a file: FILE:LINE")
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFound(f"There is no file '{name}'.") from error


def _as_json(place: Place, fim: Fim, made: Completion) -> dict[str, Any]:
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "language": fim.language.name if fim.language else None,
        "completion": made.text,
        "model": made.model,
        "finish_reason": made.finish_reason,
        "prompt_tokens": made.usage.prompt_tokens if made.usage else None,
        "completion_tokens": made.usage.completion_tokens if made.usage else None,
    }
