"""Code to examples of infilling: parts are cut out where a person would stand and write; pure.

A middle is a body's lines, the rest of a line, or whole lines, chosen by the seed. The prompt is
laid out for the model's family by `text.fim`, so that training and serving ask alike. A model
without such a format learns the code as a text to go on with.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator

from codehearth.lab.tuning.examples import Code, Completion, Example, Lesson
from codehearth.text.fim import Fim, render
from codehearth.text.languages import language_of_file

_CUTS_EACH = 2
_MAX_MIDDLE = 600  # characters
_CHARACTERS_A_TOKEN = 2.5  # code has 3 to 4; rows that are too long would be dropped
_PREFIX_SHARE = 0.7


def lessons(
    examples: Iterable[Example],
    *,
    format_name: str | None,
    marks: Collection[str] = (),
    seed: int,
    max_tokens: int = 384,
) -> tuple[Lesson, ...]:
    """Examples as the trainer learns them: code becomes infilling, all else stays as it is."""
    room = int(max_tokens * _CHARACTERS_A_TOKEN)
    chooser = random.Random(seed)  # noqa: S311
    found: list[Lesson] = []
    for example in examples:
        if isinstance(example, Code):
            found += _of_code(example, format_name, marks, chooser, room)
        else:
            found.append(example)
    return tuple(found)


def _of_code(
    code: Code,
    format_name: str | None,
    marks: Collection[str],
    chooser: random.Random,
    room: int,
) -> Iterator[Completion]:
    if format_name is None:
        yield from _as_text(code, room)
        return
    spans = code.spans or tuple(cut(code.text, chooser) for _ in range(_cuts_of(code, room)))
    for start, end in spans:
        yield completion_of(code, start, end, format_name=format_name, marks=marks, room=room)


def _cuts_of(code: Code, room: int) -> int:
    """A whole file is worth more cuts than a snippet."""
    return max(_CUTS_EACH, 2 * len(code.text) // room)


def _as_text(code: Code, room: int) -> Iterator[Completion]:
    """For a model that cannot infill: the spans behind what stands before them, or all of it."""
    for start, end in code.spans:
        yield Completion(code.text[max(0, start - room) : start], code.text[start:end], code.line)
    if not code.spans:
        yield Completion("", code.text, code.line)


def completion_of(
    code: Code, start: int, end: int, *, format_name: str, marks: Collection[str], room: int
) -> Completion:
    """The prompt that asks for `code.text[start:end]`, and that text, in `room` characters."""
    around = max(0, room - (end - start))
    before = int(around * _PREFIX_SHARE)
    fim = Fim(
        prefix=code.text[max(0, start - before) : start],
        suffix=code.text[end : end + around - before],
        path=code.path or None,
        language=language_of_file(code.path),
    )
    prompt = render(format_name, fim, marks=marks)
    return Completion(prompt, code.text[start:end], code.line, is_infill=True)


def cut(text: str, chooser: random.Random) -> tuple[int, int]:
    """Where a middle begins and ends: within a line, to its end, or over whole lines.

    It is never empty where the text is not.
    """
    starts = [0, *(at + 1 for at, letter in enumerate(text) if letter == "\n")]
    starts = [at for at in starts if text[at : at + 1].strip() or text[at:].strip()]
    begin = chooser.choice(starts)
    kind = chooser.random()
    line_end = text.find("\n", begin)
    line_end = len(text) if line_end < 0 else line_end
    if kind < 0.5 and line_end > begin + 1:  # the rest of a line
        return chooser.randrange(begin, line_end), line_end
    lines = chooser.randint(1, 4)  # some whole lines
    end = begin
    for _ in range(lines):
        after = text.find("\n", end)
        if after < 0 or after + 1 - begin > _MAX_MIDDLE:
            break
        end = after + 1
    return begin, max(end, line_end)
