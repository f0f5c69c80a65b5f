"""A file of prompts, asked side by side and answered in order."""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codehearth.cli.output import print_data, print_json_line, say, tell_error
from codehearth.cli.prompts_file import Prompt, in_order, parse_prompts
from codehearth.errors import (
    HearthError,
    NotFound,
    Overloaded,
    ServerUnreachable,
    Unauthorized,
)

if TYPE_CHECKING:
    from codehearth.cli.answering import Questions
    from codehearth.client import Answer

# With these, the next prompt would meet the same.
_HOPELESS = (ServerUnreachable, Unauthorized, NotFound)
_MAX_TRIES = 20


@dataclass(frozen=True)
class Outcome:
    prompt: Prompt
    answer: Answer | None = None
    error: HearthError | None = None


def answer_file(questions: Questions, text: str, parallel: int, *, as_json: bool) -> None:
    """Prints every answer in the file's order; raises the first error at the end, if any."""
    prompts = parse_prompts(text)
    first_error: HearthError | None = None
    outcomes = in_order(lambda prompt: _outcome(questions, prompt), prompts, num_workers=parallel)
    for outcome in outcomes:
        first_error = first_error or outcome.error
        if as_json:
            print_json_line(as_line(outcome))
        else:
            _print(outcome, len(prompts))
    if first_error is not None:
        raise first_error


def _outcome(questions: Questions, prompt: Prompt) -> Outcome:
    """One prompt's answer or error; a server that is too busy is asked again when it said."""
    from codehearth.client import gathered

    own = dataclasses.replace(
        questions, system=questions.system if prompt.system is None else prompt.system
    )
    for attempt in range(1, _MAX_TRIES + 1):
        try:
            return Outcome(prompt, answer=gathered(own.ask(prompt.text)))
        except Overloaded as error:
            if attempt == _MAX_TRIES:
                return Outcome(prompt, error=error)
            time.sleep(error.retry_after_s or 1)
        except _HOPELESS:
            raise
        except HearthError as error:
            return Outcome(prompt, error=error)
    raise AssertionError("every try returns, raises or sleeps")


def as_line(outcome: Outcome) -> dict[str, Any]:
    line: dict[str, Any] = {"number": outcome.prompt.number, "prompt": outcome.prompt.text}
    if outcome.prompt.id is not None:
        line["id"] = outcome.prompt.id
    if outcome.error is not None:
        return line | {"error": {"code": outcome.error.code, "message": outcome.error.message}}
    answer = outcome.answer
    assert answer is not None
    return line | {
        "response": answer.text,
        "model": answer.model,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
    }


def _print(outcome: Outcome, num_prompts: int) -> None:
    head = " ".join(outcome.prompt.text.split())[:72]
    print_data(f"== {outcome.prompt.number}/{num_prompts}: {head}")
    if outcome.answer is not None:
        print_data(outcome.answer.text.rstrip("\n") + "\n")
    elif outcome.error is not None:
        sys.stdout.flush()
        tell_error(f"prompt {outcome.prompt.number}: {outcome.error.message}")
        say("")
