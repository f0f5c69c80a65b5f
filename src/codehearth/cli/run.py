"""`hearth run`: one answer, a conversation, or a file of prompts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codehearth.cli.asking import DEFAULT_MAX_TOKENS, Sampling, sampling_options
from codehearth.cli.options import (
    complete_model_here,
    json_lines_option,
    repository_option,
    settings_now,
    yes_option,
)
from codehearth.cli.output import is_interactive
from codehearth.cli.reach import Server, client_of, find_server, found_or_started
from codehearth.cli.wanted import available
from codehearth.cli.words import Asked, asked_by, joined_prompt
from codehearth.errors import HearthError, NotFound

if TYPE_CHECKING:
    from codehearth.cli.answering import Questions
    from codehearth.client import Client
    from codehearth.settings import Settings


@click.command()
@click.argument("words", nargs=-1, metavar="[MODEL] [PROMPT]")
@click.option(
    "-m",
    "--model",
    shell_complete=complete_model_here,
    help="The model; then all words are the prompt.",
)
@click.option("-s", "--system", help="What the model is told before everything else.")
@click.option(
    "-f",
    "--file",
    "prompts_file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help='Prompts, one a line or JSON lines of {"prompt": ...}; answered side by side.',
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 256),
    metavar="N",
    default=8,
    show_default=True,
    help="How many prompts of a file are asked at the same time.",
)
@repository_option
@click.option(
    "--verify",
    "tests_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="TESTS",
    help="Answer with Python code that passes these tests or doctests, run in the sandbox.",
)
@click.option(
    "--candidates",
    type=click.IntRange(1, 8),
    default=4,
    show_default=True,
    metavar="N",
    help="With --verify: how many answers are tried side by side.",
)
@click.option(
    "--repairs",
    type=click.IntRange(0, 2),
    default=1,
    show_default=True,
    metavar="N",
    help="With --verify: how often what failed is asked again, with the error.",
)
@sampling_options(max_tokens=DEFAULT_MAX_TOKENS)
@json_lines_option
@yes_option
def run(
    words: tuple[str, ...],
    model: str | None,
    system: str | None,
    prompts_file: str | None,
    parallel: int,
    repository: str | None,
    tests_file: Path | None,
    candidates: int,
    repairs: int,
    as_json: bool,
    yes: bool,
    **sampling: Any,
) -> None:
    """Ask a model, or chat with it in the terminal.

    \b
      hearth run "a function that reverses a string"
      hearth run qwen2.5-coder:7b "quicksort in Go"
      git diff | hearth run -s "Write a commit message."
      hearth run --file prompts.txt --json
      hearth run --repo shop "where are prices rounded?"
      hearth run --verify test_slug.py "a function slug(title)" > slug.py
      hearth run                            (a conversation; /help there)

    Without MODEL the server's default answers. Where no server runs, one is started for this
    command.
    """
    settings = settings_now()
    server = find_server(settings)
    asked = _asked(settings, server, words, model)
    piped = "" if prompts_file or sys.stdin.isatty() else _standard_input()
    prompt = joined_prompt(piped, asked.prompt)
    if repository and tests_file is not None:
        raise click.UsageError("--repo and --verify do not go together yet.")
    verified = None if tests_file is None else Verified(tests_file, candidates, repairs)
    answer = _way(prompt, prompts_file, verified, settings, parallel=parallel, as_json=as_json)
    name = available(settings, server, asked.model, yes=yes)
    with (
        found_or_started(settings, server, model=name) as at,
        client_of(at) as client,
    ):
        from codehearth.cli.answering import Questions

        # A server of our own has the model as its default, whatever it was called by.
        asks = (name if server else None) or _default_model(client)
        answer(Questions(client, asks, system or "", Sampling(**sampling), repository))


@dataclass(frozen=True)
class Verified:
    """What `--verify` asks for."""

    tests_file: Path
    num_candidates: int
    num_repairs: int


def _way(
    prompt: str,
    prompts_file: str | None,
    verified: Verified | None,
    settings: Settings,
    *,
    parallel: int,
    as_json: bool,
) -> Callable[[Questions], None]:
    """How the answer is got and printed; raises UsageError where there is nothing to answer."""
    from codehearth.cli import answering, batch, chat, verify

    if verified is not None:
        if prompts_file or not prompt:
            raise click.UsageError("--verify needs one prompt.")
        how = (verified.tests_file, verified.num_candidates, verified.num_repairs)
        return lambda asks: verify.answer_verified(asks, prompt, *how, as_json=as_json)
    if prompts_file:
        text = _read(prompts_file)
        return lambda asks: batch.answer_file(asks, text, parallel, as_json=as_json)
    if not prompt:
        if as_json or not (is_interactive() and sys.stdout.isatty()):
            raise click.UsageError("There is no prompt.")
        return lambda asks: chat.converse(asks, settings)
    show = answering.print_answer_lines if as_json else answering.print_answer
    return lambda asks: show(asks, prompt)


def _asked(
    settings: Settings, server: Server | None, words: tuple[str, ...], model: str | None
) -> Asked:
    """The model and prompt that the words mean, with what this machine and the server know."""
    if model is not None or len(words) != 1:
        return asked_by(words, model=model, is_model=lambda _: False, near=lambda _: ())
    names = _names(settings, server)
    return asked_by(words, model=None, is_model=_is_model(names), near=_near(names))


def _names(settings: Settings, server: Server | None) -> tuple[str, ...]:
    if server is not None:
        with client_of(server) as client:
            return tuple(card.name for card in client.models())
    from codehearth.cli.shelf import store_of

    return tuple(model.name for model in store_of(settings).models())


def _is_model(names: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a word names a model: one that is here, one that is known, a repository, a path."""
    from codehearth.models.catalogue import resolve
    from codehearth.models.names import CatalogueName, parse_name

    def is_model(word: str) -> bool:
        if word in names:
            return True
        try:
            name = parse_name(word, allow_path=True)
            if isinstance(name, CatalogueName):
                resolve(name)
        except HearthError:
            return False
        return True

    return is_model


def _near(names: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    from codehearth.models.catalogue import catalogue, nearest

    return lambda word: nearest(word, [*names, *catalogue()])


def _default_model(client: Client) -> str | None:
    """Our servers say theirs; of another one it is the first of its list."""
    try:
        return client.default_model()
    except NotFound:
        return next((card.name for card in client.models()), None)


def _standard_input() -> str:
    return sys.stdin.buffer.read().decode("utf-8", "replace")


def _read(file: str) -> str:
    if file == "-":
        return _standard_input()
    return Path(os.fsdecode(file)).read_bytes().decode("utf-8-sig", "replace")
