"""Short functions as people write them, with names that change: what fills a middle from context.

`taught/idioms.txt` holds one a block, `$numbers` and its like standing for a name.
"""

import random
import re
from functools import cache
from string import Template

from .tasks import TAUGHT_FOLDER

# What a name may be called; a name that is not here stays as it is.
NAMES = {
    "accepted": ("accepted", "matching", "yes", "kept"),
    "amount": ("amount", "money", "value"),
    "average": ("average", "mean", "avg", "average_of", "compute_average", "get_mean"),
    "count": ("count", "number", "n", "num_items", "counter"),
    "counts": ("counts", "counter", "frequencies", "result"),
    "file": ("file", "f", "handle", "stream"),
    "first_items": ("first", "left", "a", "xs"),
    "function": ("function", "func", "fn", "callback"),
    "highest": ("highest", "maximum", "high", "biggest", "upper"),
    "index": ("index", "i", "position", "idx"),
    "item": ("item", "element", "entry", "x", "value"),
    "items": ("items", "elements", "values", "entries", "data", "lst", "array"),
    "key": ("key", "name", "k"),
    "largest": ("largest", "biggest", "maximum", "highest", "best"),
    "letter": ("letter", "char", "character", "c", "ch"),
    "line": ("line", "row", "text"),
    "load_json": ("load_json", "read_json", "load_json_file", "load_data"),
    "lowest": ("lowest", "minimum", "low", "lower"),
    "mapping": ("mapping", "table", "d", "data", "scores", "prices"),
    "name": ("name", "user", "title"),
    "number": ("number", "value", "n", "x", "num", "score"),
    "numbers": ("numbers", "values", "scores", "prices", "data", "nums", "grades", "xs"),
    "path": ("path", "filename", "file_name", "source"),
    "result": ("result", "results", "output", "found", "answer"),
    "rows": ("rows", "table", "lines", "records", "matrix"),
    "second_items": ("second", "right", "b", "ys"),
    "settings": ("settings", "config", "data", "options", "users"),
    "smallest": ("smallest", "minimum", "lowest", "least"),
    "target": ("target", "wanted", "value", "key"),
    "text": ("text", "string", "sentence", "s", "content", "message"),
    "total": ("total", "sum_of_all", "result", "s", "running_sum"),
    "value": ("value", "v", "item"),
    "word": ("word", "w", "token"),
    "words": ("words", "tokens", "names", "parts"),
}


def idiom(rng: random.Random) -> str:
    """One short function or class, its names drawn anew; two empty lines are often one."""
    text = renamed(rng, rng.choice(idioms()))
    return text if rng.random() < 0.5 else text.replace("\n\n\n", "\n\n")


@cache
def idioms() -> tuple[str, ...]:
    """The blocks of the list as they are written; two empty lines stay within a block."""
    text = (TAUGHT_FOLDER / "idioms.txt").read_text(encoding="utf-8")
    return tuple(re.split(r"(?<!\n)\n\n(?=(?:def|class|import|from) )", text.strip("\n")))


def renamed(rng: random.Random, block: str) -> str:
    """Each `$name` called one of its names."""
    template = Template(block)
    return template.substitute(chosen_names(rng, template.get_identifiers()))


def chosen_names(rng: random.Random, wanted: list[str]) -> dict[str, str]:
    """A name for each, no two alike; those that have but one are called first."""
    choices = {name: NAMES.get(name, (name,)) for name in wanted}
    called: dict[str, str] = {}
    for name in sorted(choices, key=lambda name: len(choices[name])):
        called[name] = rng.choice([n for n in choices[name] if n not in called.values()])
    return called
