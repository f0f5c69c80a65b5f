"""Every answer and its verdict, a line each, so that an evaluation that was cut short goes on.

The file's name is a hash of all that decides an answer: model, weights, how it is asked, tasks,
sampling. More answers to the same tasks use those that are there.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args

from codehearth.errors import DiskFull
from codehearth.lab.judging.verdict import Group

# What is cached was judged by this harness; another one judges anew.
_HARNESS = 1


@dataclass(frozen=True)
class Answered:
    """One answer, judged."""

    task: str
    index: int
    answer: str
    code: str
    was_cut: bool
    group: Group
    detail: str
    is_apart: bool = True
    num_tokens: int = 0
    similarity: float | None = None


def journal_name(**facts: Any) -> str:
    """The same for the same facts."""
    told = json.dumps({"harness": _HARNESS, **facts}, sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:24]


class Journal:
    """Safe among threads; what a kill tore in two is left out when it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._found = _read(path)

    def find(self, task: str, index: int) -> Answered | None:
        return self._found.get((task, index))

    def add(self, answered: Answered) -> None:
        """Written before it returns. Raises DiskFull."""
        line = json.dumps(asdict(answered), ensure_ascii=False) + "\n"
        with self._lock:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("a+b") as file:
                    file.write(_end_of_line(file) + line.encode("utf-8", "replace"))
            except OSError as error:
                raise DiskFull(f"An answer cannot be written ({error.strerror}).") from error
            self._found[answered.task, answered.index] = answered


def _end_of_line(file: BinaryIO) -> bytes:
    """What the last line lacks where a kill or a full disk tore it: what follows is whole."""
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"


def _read(path: Path) -> dict[tuple[str, int], Answered]:
    found: dict[tuple[str, int], Answered] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            answered = Answered(**json.loads(line))
        except (ValueError, TypeError):
            continue
        if answered.group in get_args(Group):
            found[answered.task, answered.index] = answered
    return found
