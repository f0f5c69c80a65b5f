"""One question to a model, and its answer as it comes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codehearth.cli.asking import Sampling
from codehearth.cli.output import print_data, print_json_line, say
from codehearth.errors import HearthError

if TYPE_CHECKING:
    from codehearth.client import Client, Piece


@dataclass(frozen=True)
class Questions:
    """What stays the same from question to question. Without `model` the server's default."""

    client: Client
    model: str | None
    system: str
    sampling: Sampling
    repository: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        return {**self.sampling.options(), "repository": self.repository}

    def ask(self, prompt: str) -> Iterator[Piece]:
        """The answer to a prompt that stands alone.

        A model that was only trained to continue text gets the prompt as the text's beginning.
        """
        if is_base_model(self.model):
            text = "\n\n".join(part for part in (self.system, prompt) if part)
            return self.client.stream_completion(text, model=self.model, **self.options)
        return self.ask_messages(messages_of(self.system, prompt))

    def ask_messages(self, messages: Sequence[dict[str, str]]) -> Iterator[Piece]:
        return self.client.stream_chat(messages, model=self.model, **self.options)


def messages_of(system: str, prompt: str) -> list[dict[str, str]]:
    told = [{"role": "system", "content": system}] if system else []
    return [*told, {"role": "user", "content": prompt}]


def is_base_model(model: str | None) -> bool:
    """Whether the catalogue knows the model as one that does not chat."""
    if model is None:
        return False
    from codehearth.models.catalogue import lookup

    try:
        return lookup(model).kind == "completion"
    except HearthError:
        return False


def print_answer(questions: Questions, prompt: str) -> None:
    """Streams the answer to standard output; what else there is to say to standard error."""
    last = ""
    was_cut = False
    for piece in questions.ask(prompt):
        if piece.shown:
            say(shown_note(piece.shown))
        if piece.text:
            print_data(piece.text, newline=False)
            last = piece.text
        was_cut = was_cut or piece.finish_reason == "length"
    if not last.endswith("\n"):
        print_data("")
    if was_cut and sys.stderr.isatty():
        say(cut_note(questions.sampling.max_tokens))


def print_answer_lines(questions: Questions, prompt: str) -> None:
    """JSON lines: one for each piece of text, then one that says how it ended."""
    from codehearth.client import gathered

    pieces = []
    for piece in questions.ask(prompt):
        pieces.append(piece)
        if piece.text:
            print_json_line({"text": piece.text})
    answer = gathered(pieces)
    shown = [place for piece in pieces for place in piece.shown]
    print_json_line(
        {
            "done": True,
            "model": answer.model or questions.model,
            "finish_reason": answer.finish_reason,
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
            **({"shown": shown} if questions.repository else {}),
        }
    )


def shown_note(places: Sequence[str]) -> str:
    return f"The model reads {', '.join(places)}."


def cut_note(max_tokens: int | None) -> str:
    return f"(cut at {max_tokens} tokens, or at the end of the model's context; see --max-tokens)"
