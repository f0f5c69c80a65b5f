"""How often a function is found by its own description, and how fast.

    python -m benchmarks.retrieval [FOLDER …] [--questions 400]

Functions with a docstring are taken from the folders (the standard library of this Python unless
named). The docstring's first sentence is the question, and is taken out of the code that is
indexed: what is found, is found by the code's own words. Two indexes are asked the same questions,
one after the other: ours (trigrams, names weigh more) and SQLite's words as they are (unicode61).
A function counts as found if a chunk that begins in it is among the first 1, 5 or 8.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import sqlite3
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from codehearth.repo.context import Found, packed
from codehearth.repo.index import Index
from codehearth.repo.query import expression, terms_of
from codehearth.repo.shelf import Shelf

SEED = 7
RANKS = (1, 5, 8)
_LEAST_WORDS = 5


@dataclass(frozen=True)
class Question:
    path: str
    first_line: int
    last_line: int
    text: str

    def is_answered_by(self, found: Found) -> bool:
        return found.path == self.path and not (
            found.last_line < self.first_line or self.last_line < found.first_line
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--questions", type=int, default=400)
    asked = parser.parse_args()
    folders = asked.folders or [Path(sysconfig.get_paths()["stdlib"])]
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "code"
        questions = list(_stripped_copies(folders, root))
        chosen = random.Random(SEED).sample(questions, min(asked.questions, len(questions)))
        began = time.process_time()
        shelf = Shelf(Path(temporary))
        shelf.add(root, "code")
        index = shelf.get("code")
        facts = index.facts()
        print(
            f"{facts.num_files} files, {facts.num_chunks} chunks, indexed in "
            f"{time.process_time() - began:.1f} s of CPU, {index.path.stat().st_size >> 20} MiB"
        )
        words = _words_of(index)
        ways: dict[str, Callable[[str], list[Found]]] = {
            "trigrams": lambda text: index.search(terms_of(text), limit=40),
            "words": lambda text: _asked_by_words(words, text),
        }
        _print(ways, chosen)


def _print(ways: dict[str, Callable[[str], list[Found]]], questions: list[Question]) -> None:
    hits = {name: dict.fromkeys(RANKS, 0) for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for question in questions:
        for name, ask in ways.items():
            began = time.perf_counter()
            found = ask(question.text)
            seconds[name].append(time.perf_counter() - began)
            shown = packed(found, max_characters=12_000)
            for rank in RANKS:
                hits[name][rank] += any(map(question.is_answered_by, shown[:rank]))
    print(f"{len(questions)} questions\n")
    print("| index | " + " | ".join(f"among {rank}" for rank in RANKS) + " | ms, median |")
    print("| --- |" + " --- |" * (len(RANKS) + 1))
    for name in ways:
        shares = " | ".join(f"{100 * hits[name][rank] / len(questions):.1f} %" for rank in RANKS)
        print(f"| {name} | {shares} | {1000 * statistics.median(seconds[name]):.1f} |")
    ratio = hits["trigrams"][8] / max(1, hits["words"][8])
    print(f"\nfound among 8, trigrams / words: {ratio:.2f}")


def _stripped_copies(folders: list[Path], root: Path) -> Iterator[Question]:
    """Writes the files without their functions' docstrings; gives what was taken out."""
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder)
            if {"test", "tests", "site-packages", "idlelib"} & set(name.parts):
                continue
            try:
                text = path.read_text("utf-8")
                tree = ast.parse(text)
            except (SyntaxError, UnicodeDecodeError, ValueError):
                continue
            lines = text.split("\n")
            kept = f"{folder.name}/{name.as_posix()}"
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield from _taken_out(node, lines, kept)
            target = root / kept
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("\n".join(lines), encoding="utf-8")


def _taken_out(
    node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str], path: str
) -> Iterator[Question]:
    docstring = ast.get_docstring(node)
    first = node.body[0]
    if docstring is None or len(node.body) < 2 or first.end_lineno is None or not node.end_lineno:
        return
    for number in range(first.lineno - 1, first.end_lineno):
        lines[number] = ""
    sentence = docstring.split("\n\n")[0].replace("\n", " ")
    if len(terms_of(sentence)) >= _LEAST_WORDS:
        yield Question(path, node.lineno, node.end_lineno, sentence)


def _words_of(index: Index) -> sqlite3.Connection:
    """The same chunks under SQLite's own words."""
    connection = sqlite3.connect(":memory:")
    connection.execute(f"ATTACH '{index.path}' AS ours")
    connection.execute("CREATE VIRTUAL TABLE words USING fts5 (path, names, text)")
    connection.execute(
        "INSERT INTO words (rowid, path, names, text) SELECT number, path, names, text"
        " FROM ours.chunks"
    )
    return connection


def _asked_by_words(connection: sqlite3.Connection, text: str) -> list[Found]:
    rows = connection.execute(
        "SELECT c.path, c.first_line, c.last_line, c.text, -bm25(words, 2.0, 6.0, 1.0) AS score"
        " FROM words JOIN ours.chunks AS c ON c.number = words.rowid"
        " WHERE words MATCH ? ORDER BY score DESC LIMIT 40",
        (expression(re.findall(r"\w{3,}", text)),),
    )
    return [Found(*row) for row in rows]


if __name__ == "__main__":
    main()
