"""Gaps in a folder's own code, and how near an infilled middle comes to what stood there."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from codehearth.errors import InvalidRequest, NotFound
from codehearth.lab.evaluation.tasks import Gap, Suite
from codehearth.text.languages import language_of_file

MAX_GAPS = 100
_MAX_FILE_BYTES = 200_000
_MAX_FILES = 2000
_AROUND = 6000
_LEFT_OUT = {
    "node_modules", "__pycache__", "site-packages", "venv", "env", "dist", "build", "target",
    "vendor",
}  # fmt: skip


def fim_suite(folder: Path, *, max_gaps: int = MAX_GAPS, seed: int = 0) -> Suite:
    """One gap a file at most, drawn by the seed: the rest of a line, or a whole line.

    Hidden folders, links, generated and very long files are left out. Raises NotFound and
    InvalidRequest.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no folder '{folder}'.")
    generator = random.Random(seed)  # noqa: S311
    paths = sorted(_files(folder))
    generator.shuffle(paths)
    gaps: list[Gap] = []
    for path in paths:
        gap = _gap(path, folder, generator)
        if gap is not None:
            gaps.append(gap)
        if len(gaps) == max_gaps:
            break
    if not gaps:
        raise InvalidRequest(f"No code was found in '{folder}' to take a line from.")
    return Suite("fim", f"lines taken from {folder.resolve().name}", tuple(gaps))


# Prose and data are no code, whatever marks them up.
_NO_CODE = {"Markdown", "RMarkdown", "JSON", "YAML", "TOML", "HTML", "XML", "CSV", "SVG"}


def _files(folder: Path) -> Iterator[Path]:
    count = 0
    for place, names, files in os.walk(folder):
        names[:] = sorted(
            name for name in names if not name.startswith(".") and name not in _LEFT_OUT
        )
        for path in (Path(place) / name for name in sorted(files)):
            if _language(path) and not path.is_symlink():
                count += 1
                yield path
                if count == _MAX_FILES:
                    return


def _language(path: Path) -> str:
    found = language_of_file(path.name)
    return found.name if found is not None and found.name not in _NO_CODE else ""


def _gap(path: Path, folder: Path, generator: random.Random) -> Gap | None:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            return None
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        return None
    numbers = [
        number for number, line in enumerate(lines) if 8 <= len(line.strip()) <= 120 and number > 0
    ]
    if not numbers:
        return None
    number = generator.choice(numbers)
    line = lines[number]
    body = line.rstrip("\r\n")
    indent = len(body) - len(body.lstrip())
    start = indent + generator.choice((0, (len(body) - indent) // 2))
    prefix = "".join(lines[:number]) + body[:start]
    suffix = line[len(body) :] + "".join(lines[number + 1 :])
    return Gap(
        f"{path.relative_to(folder).as_posix()}:{number + 1}",
        _language(path),
        prefix[-_AROUND:],
        body[start:],
        suffix[:_AROUND],
    )


def first_line(text: str) -> str:
    """What fills a gap of one line: the answer's first line that says something."""
    return next((line for line in text.splitlines() if line.strip()), "")


def is_exact(answer: str, middle: str) -> bool:
    """The same but for spaces at both ends."""
    return first_line(answer).strip() == middle.strip()


def edit_similarity(answer: str, middle: str) -> float:
    """1 - edit distance / the longer length, without spaces at both ends.

    >>> edit_similarity("return a + b", "return a - b"), edit_similarity("", "x")
    (0.9166666666666666, 0.0)
    """
    one, other = first_line(answer).strip(), middle.strip()
    longest = max(len(one), len(other))
    return 1.0 if not longest else 1 - _distance(one[:1000], other[:1000]) / longest


def _distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein's."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, start=1):
        diagonal, row[0] = row[0], number
        for place, mark in enumerate(other, start=1):
            diagonal, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, diagonal + (letter != mark)),
            )
    return row[-1]
