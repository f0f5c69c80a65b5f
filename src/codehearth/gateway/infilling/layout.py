"""How a middle is asked for while somebody types.

The family's layout ends with the mark of the middle; the last lines before the cursor are put
behind it, as if the model had begun its middle with them.

1. What is typed then changes nothing before those lines, so the engine keeps prefix *and* suffix in
   its cache. (llama.cpp's `/infill` puts its `prompt` before the suffix, and reads the suffix anew
   at every keystroke.) The lines begin at a paragraph, else at every eighth line of the text, so
   that their beginning stays where it is for a while.
2. A model writes in tokens, and a line that ends in the middle of a word, or in the blank before
   one, ends in the middle of a token: what follows is then unlikely text, often none. So the last
   word is taken off and the engine is forced, by a grammar where it takes one, to write it again.

Measured on the first starter, 150 taught lines hidden from anywhere in the line to its end, and
from the line's first letter, exact matches in per cent: all before the suffix 0 and 17; the line
behind the mark 24 and 13, with its last word forced 53 and 15; the paragraph behind the mark, its
last word forced, 77 and 71. It was shown few middles that begin in a line; the present one gains
less (98 instead of 84 of 100 rests of lines, `benchmarks/RESULTS.md`), a larger model less still,
and the same time.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from codehearth.pool.child import ModelFacts
from codehearth.text.fim import Fim, render, render_prefix
from codehearth.text.fim_formats import FIM_FORMATS

_LAST_WORD = re.compile(r"[ \t]*(?:\w{1,64}|[^\w\s]{1,16})\Z|[ \t]{1,128}\Z")
_MIN_LINES = 4
_MAX_LINES = 16
_STEP_LINES = 8
_MAX_CHARACTERS = 2000


@dataclass(frozen=True)
class Layout:
    """A prompt, and the text that its answer must begin with: what was taken off the line."""

    prompt: str
    forced: str = ""

    @property
    def grammar(self) -> str | None:
        """Any text that begins with what is forced."""
        if not self.forced:
            return None
        return f"root ::= {json.dumps(self.forced, ensure_ascii=False)} [^\\x00]*"


def laid_out(format_name: str | None, fim: Fim, facts: ModelFacts, *, may_force: bool) -> Layout:
    """The layout of a middle; raises Unsupported where the model has no format."""
    head, lines = split_near_cursor(fim.prefix)
    layout = FIM_FORMATS.get(format_name or "")
    marks = facts.weights.fim_marks
    if layout is None or any(token in lines for token in layout.tokens):
        return Layout(render(format_name, fim, marks=marks))
    before = render(format_name, replace(fim, prefix=head), marks=marks)
    return _with_lines(before, lines, facts, may_force=may_force)


def continued(fim: Fim, facts: ModelFacts, *, may_force: bool) -> Layout:
    """The layout for a model that cannot infill: it continues the prefix."""
    head, lines = split_near_cursor(fim.prefix)
    before = render_prefix(replace(fim, prefix=head))
    return _with_lines(before, lines, facts, may_force=may_force)


def split_near_cursor(prefix: str) -> tuple[str, str]:
    """The prefix up to a paragraph near its end, and the lines from there to the cursor.

    A text of one line is left whole before the suffix: nothing is gained by splitting it.
    """
    if "\n" not in prefix:
        return prefix, ""
    lines = prefix[-_MAX_CHARACTERS:].split("\n")
    if len(prefix) > _MAX_CHARACTERS:
        lines = lines[1:] or [""]  # the first one may be half a line
    num_lines = _num_lines_of_paragraph(lines) or _num_lines_to_step(prefix.count("\n") + 1)
    behind = "\n".join(lines[-min(num_lines, len(lines)) :])
    return prefix[: len(prefix) - len(behind)], behind


def _num_lines_of_paragraph(lines: list[str]) -> int:
    """From the nearest beginning of a paragraph that is far enough; 0 where none is."""
    for num in range(_MIN_LINES, min(len(lines), _MAX_LINES) + 1):
        start = len(lines) - num
        if lines[start].strip() and (start == 0 or not lines[start - 1].strip()):
            return num
    return 0


def _num_lines_to_step(num_lines: int) -> int:
    """From a line whose number changes only with every `_STEP_LINES` lines."""
    return num_lines - max(0, num_lines - _MIN_LINES) // _STEP_LINES * _STEP_LINES


def _with_lines(before: str, lines: str, facts: ModelFacts, *, may_force: bool) -> Layout:
    """An engine that can be made to begin with nothing is asked as the text stands."""
    can_force = may_force and (facts.takes_grammars or facts.takes_beginnings)
    last = _LAST_WORD.search(lines) if can_force else None
    if last is None or not (before + lines[: last.start()]):
        return Layout(before + lines)
    return Layout(before + lines[: last.start()], forced=last.group())
