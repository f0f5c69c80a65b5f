"""One hidden line asked for: by hand in both published orders, and as CodeHearth asks for it.

Any line of code may be hidden that is not empty (single-line infilling, Bavarian 2022, arXiv
2207.14255); what is told in comments and docstrings is not code.
"""

import ast
import difflib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from codehearth.gateway.infilling.layout import Layout, laid_out
from codehearth.models.weights import read_weights
from codehearth.pool.child import ModelFacts
from codehearth.text.fim import Fim

from .corpus import SourceFile
from .engine import CONTEXT, Engine
from .generation import infill_prompt

MAX_TOKENS = 64
MAX_PREFIX, MAX_SUFFIX = 1500, 600  # characters that are shown

Order = Literal["prefix first", "suffix first", "codehearth"]
ORDERS: tuple[Order, ...] = ("prefix first", "suffix first", "codehearth")


class Asker:
    """Writes the prompt that asks the model in a file for a middle."""

    def __init__(self, path: Path) -> None:
        weights = read_weights(path)
        self._facts = ModelFacts("starter", CONTEXT, 1, weights)

    def layout(self, prefix: str, suffix: str, order: Order) -> Layout:
        if order == "codehearth":
            return laid_out("qwen", Fim(prefix, suffix), self._facts, may_force=True)
        return Layout(infill_prompt(prefix, suffix, suffix_first=order == "suffix first"))


def hidden_lines(
    engine: Engine, asker: Asker, files: list[SourceFile], order: Order, count: int, seed: int
) -> Iterator[dict[str, Any]]:
    """One line hidden in a file, compared to what comes back; spaces at its ends do not count."""
    rng = random.Random(seed)
    for _ in range(count):
        text = rng.choice(files).text
        start, end = rng.choice(code_lines(text))
        wanted = text[start:end]
        asked = asker.layout(text[:start][-MAX_PREFIX:], text[end:][:MAX_SUFFIX], order)
        reply = engine.complete(asked.prompt, max_tokens=MAX_TOKENS, grammar=asked.grammar)
        got = reply.text.removeprefix(asked.forced).split("\n", 1)[0].strip()
        similarity = difflib.SequenceMatcher(None, wanted, got).ratio()
        yield {"wanted": wanted, "got": got, "exact": wanted == got, "similarity": similarity}


def code_lines(text: str) -> list[tuple[int, int]]:
    """Where each line of code starts and ends in a Python file, spaces at its ends left out."""
    told = {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    found = []
    at = 0
    for number, line in enumerate(text.split("\n"), start=1):
        code = line.strip()
        if code and not code.startswith("#") and number not in told:
            start = at + line.index(code)
            found.append((start, start + len(code)))
        at += len(line) + 1
    return found
