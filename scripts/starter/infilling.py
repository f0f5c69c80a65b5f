"""One hidden line asked for: by hand in both published orders, and as CodeHearth asks for it."""

import difflib
import random
import re
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
        lines = [m for m in re.finditer(r"[^\n]+", text) if len(m.group().strip()) >= 6]
        line = rng.choice(lines)
        start = line.start() + len(line.group()) - len(line.group().lstrip())
        wanted = text[start : line.end()].strip()
        asked = asker.layout(text[:start][-MAX_PREFIX:], text[line.end() :][:MAX_SUFFIX], order)
        reply = engine.complete(asked.prompt, max_tokens=MAX_TOKENS, grammar=asked.grammar)
        got = reply.text.removeprefix(asked.forced).split("\n", 1)[0].strip()
        similarity = difflib.SequenceMatcher(None, wanted, got).ratio()
        yield {"wanted": wanted, "got": got, "exact": wanted == got, "similarity": similarity}
