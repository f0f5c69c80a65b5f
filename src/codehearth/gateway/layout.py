"""How a middle is asked for while somebody types in a line.

The family's layout ends with the mark of the middle; the beginning of the cursor's line is put
behind it, as if the model had begun its middle with the line. So nothing before it changes while
the line is typed, and the engine keeps prefix *and* suffix in its cache. llama.cpp's `/infill` does
the same with its `prompt`.

A model writes in tokens, and a line that ends in the middle of a word, or in the blank before one,
ends in the middle of a token: what follows is then unlikely text, often none. So the last word is
taken off and the engine is forced, by a grammar, to write it again. Measured on the starter, 200
taught lines cut anywhere: 0 % exact with the line before the suffix, 24 % behind the mark, 48 to
58 % with the last word forced. (The starter was shown few such cuts; a larger model gains less.)
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from codehearth.pool.child import ModelFacts
from codehearth.text.fim import Fim, render, render_prefix
from codehearth.text.fim_formats import FIM_FORMATS

_LAST_WORD = re.compile(r"[ \t]*(?:\w{1,64}|[^\w\s]{1,16})\Z|[ \t]{1,128}\Z")


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
    head, line_feed, line = fim.prefix.rpartition("\n")
    layout = FIM_FORMATS.get(format_name or "")
    marks = facts.weights.fim_marks
    if layout is None or not head or any(token in line for token in layout.tokens):
        return Layout(render(format_name, fim, marks=marks))  # nothing stands before the line
    before = render(format_name, replace(fim, prefix=head + line_feed), marks=marks)
    return _with_line(before, line, facts, may_force=may_force)


def continued(fim: Fim, facts: ModelFacts, *, may_force: bool) -> Layout:
    """The layout for a model that cannot infill: it continues the prefix."""
    head, line_feed, line = fim.prefix.rpartition("\n")
    before = render_prefix(replace(fim, prefix=head + line_feed))
    return _with_line(before, line, facts, may_force=may_force)


def _with_line(before: str, line: str, facts: ModelFacts, *, may_force: bool) -> Layout:
    """Only llama.cpp's engines take a grammar, and they are what reads GGUF."""
    last = _LAST_WORD.search(line) if may_force and facts.weights.kind == "gguf" else None
    if last is None or not (before + line[: last.start()]):
        return Layout(before + line)
    return Layout(before + line[: last.start()], forced=last.group())
