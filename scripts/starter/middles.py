"""A middle cut out of a text, and the orders in which what is left is shown."""

import random
import re
from dataclasses import dataclass

from tokenizers import Tokenizer

from . import tokenizer as vocabulary

MAX_LEADING_LINES = 16
# A middle is one token in forty of what is shown, and all that infilling is judged by.
MIDDLE_WEIGHT = 8
VALUE_SHARE = 0.12
VALUE_MARK = re.compile(r"\breturn |[\w\])] [-+*/]?= ")  # what comes next is worth asking for


@dataclass(frozen=True)
class Document:
    """The tokens of one text; the last `num_wanted` are what it asks for, a middle or an answer,
    and weigh `weight` in the loss, the others 1."""

    ids: list[int]
    num_wanted: int = 0
    weight: int = 1


def encode_infilling(
    tokenizer: Tokenizer, rng: random.Random, text: str, value_share: float = VALUE_SHARE
) -> Document:
    """Prefix, suffix and middle, in both orders llama.cpp's `/infill` can send (Bavarian 2022), or
    with the lines before the middle behind its mark, as CodeHearth asks for it."""
    start, end = middle_span(rng, text, value_share)
    order = rng.random()
    lead = leading_start(rng, text, start) if order < 0.35 else start
    prefix, suffix, leading, filled = (
        vocabulary.encode(tokenizer, part)
        for part in (text[:lead], text[end:], text[lead:start], text[lead:end])
    )
    mark = {
        token: vocabulary.token_id(tokenizer, token)
        for token in (
            vocabulary.FIM_PREFIX,
            vocabulary.FIM_SUFFIX,
            vocabulary.FIM_MIDDLE,
            vocabulary.END_OF_TEXT,
        )
    }
    with_prefix = [mark[vocabulary.FIM_PREFIX], *prefix]
    with_suffix = [mark[vocabulary.FIM_SUFFIX], *suffix]
    parts = with_prefix + with_suffix if order < 0.75 else with_suffix + with_prefix
    ids = [*parts, mark[vocabulary.FIM_MIDDLE], *filled, mark[vocabulary.END_OF_TEXT]]
    num_middle = max(len(filled) - len(leading), 0) + 1
    return Document(ids, num_middle, MIDDLE_WEIGHT)


def leading_start(rng: random.Random, text: str, start: int) -> int:
    """Where up to MAX_LEADING_LINES lines before `start` begin, its own line counted."""
    for _ in range(rng.randrange(1, MAX_LEADING_LINES + 1)):
        start = text.rfind("\n", 0, max(start - 1, 0)) + 1
    return start


def middle_span(rng: random.Random, text: str, value_share: float = VALUE_SHARE) -> tuple[int, int]:
    """Where the middle lies: mostly one line's code, its value or rest, else lines or any span.

    `value_share` of them are values, where the line that is drawn has one.
    """
    at = rng.randrange(len(text))
    line_end = text.find("\n", at)
    line_end = len(text) if line_end < 0 else line_end
    line_start = text.rfind("\n", 0, at) + 1
    value = VALUE_MARK.search(text, line_start, line_end)
    if value and rng.random() < value_share:
        return value.end(), line_end
    choice = rng.random()
    if choice < 0.51:
        line = text[line_start:line_end]
        return line_start + len(line) - len(line.lstrip()), line_end
    if choice < 0.66:
        return at, line_end
    if choice < 0.85:
        for _ in range(rng.randrange(1, 4)):
            following = text.find("\n", line_end + 1)
            line_end = line_end if following < 0 else following
        return line_start, line_end
    return at, min(len(text), at + rng.randrange(1, 120))
