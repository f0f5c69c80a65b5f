"""How a request is sampled: the options that `run` and `complete` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

DEFAULT_MAX_TOKENS = 2048


@dataclass(frozen=True)
class Sampling:
    """None leaves the choice to the server: what the model's makers recommend."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def options(self) -> dict[str, Any]:
        """As a request's fields."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "stop": list(self.stop) or None,
        }


def sampling_options(*, max_tokens: int) -> Callable[[_Command], _Command]:
    """The flags of `Sampling`, each an argument of the command."""
    options = (
        click.option(
            "--max-tokens",
            type=click.IntRange(1, 2**31 - 1),
            default=max_tokens,
            metavar="N",
            show_default=True,
            help="New tokens at most.",
        ),
        click.option(
            "--temperature",
            type=click.FloatRange(0, 2),
            metavar="0..2",
            help="0: always the likeliest token; 2: nearly any. Default: the model's own.",
        ),
        click.option(
            "--top-p",
            type=click.FloatRange(0, 1),
            metavar="0..1",
            help="Only the likeliest tokens that make up this share.",
        ),
        click.option("--seed", type=int, metavar="N", help="The same seed repeats an answer."),
        click.option("--stop", multiple=True, help="Text that ends the answer; may be repeated."),
    )

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add
