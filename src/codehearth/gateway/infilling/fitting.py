"""How much of an editor's text is sent, so that the engine's cache keeps what it has read.

A text that is too long is cut at its beginning in steps, not line by line: while somebody types,
the beginning stays where it is for a quarter of the budget, and everything before the cursor is
in the cache. What stands after the cursor is read anew at every keystroke (it stands behind the
prefix in most families' layouts), so little of it is sent.
"""

from __future__ import annotations

from dataclasses import replace

from codehearth.text.fim import Fim, Fitted, fit

MAX_SUFFIX_CHARACTERS = 2048
"""About 600 tokens; llama.cpp's own `/infill` sends 510."""
_STEPS = 4


def fitted_to(fim: Fim, max_characters: int) -> Fitted:
    """`fim` within `max_characters`, cut on line ends, with what had to go."""
    suffix = _first_lines(fim.suffix, min(MAX_SUFFIX_CHARACTERS, max(1, max_characters // 4)))
    room = max(1, max_characters - len(suffix))
    prefix = fim.prefix if len(fim.prefix) <= room else _steady_end(fim.prefix, room)
    rest = fit(replace(fim, prefix=prefix, suffix=suffix), max_characters)
    return replace(
        rest,
        num_cut_prefix_lines=rest.num_cut_prefix_lines + _lines_less(fim.prefix, prefix),
        num_cut_suffix_lines=rest.num_cut_suffix_lines + _lines_less(fim.suffix, suffix),
    )


def _steady_end(text: str, room: int) -> str:
    """The end of a text, from a place that moves only once in `room // _STEPS` characters."""
    step = max(1, room // _STEPS)
    num_cut = -(-(len(text) - room) // step) * step
    at_line = text.find("\n", num_cut) + 1
    is_long_line = at_line == 0 or at_line - num_cut > step
    return text[num_cut if is_long_line else at_line :]


def _first_lines(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    end = text.rfind("\n", 0, room) + 1
    return text[: end or room]


def _lines_less(whole: str, part: str) -> int:
    return whole.count("\n") - part.count("\n") or int(whole != part)
