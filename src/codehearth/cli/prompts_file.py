"""`--file`: many prompts, one a line, or as JSON lines; pure but for the workers at the end."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from codehearth.errors import InvalidRequest

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Prompt:
    """One prompt of a file; `id` is given back with its answer where the file names one."""

    number: int
    text: str
    system: str | None = None
    id: Any = None


def parse_prompts(text: str) -> tuple[Prompt, ...]:
    """The prompts of a file, numbered from 1; raises InvalidRequest naming the line.

    The file holds JSON lines if its first line that is not empty is an object with a `prompt`.
    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise InvalidRequest("The file holds no prompts.", hint="write one prompt a line")
    if "prompt" in (_object(lines[0][1]) or {}):
        made = [_from_json(number, line) for number, line in lines]
    else:
        made = [Prompt(0, line.strip()) for _, line in lines]
    return tuple(
        Prompt(number, prompt.text, prompt.system, prompt.id)
        for number, prompt in enumerate(made, 1)
    )


def _from_json(number: int, line: str) -> Prompt:
    value = _object(line)
    if value is None:
        raise InvalidRequest(f"Line {number} of the file is not a JSON object.")
    text, system = value.get("prompt"), value.get("system")
    if not isinstance(text, str) or not text.strip():
        raise InvalidRequest(f"Line {number} of the file has no text in 'prompt'.")
    if system is not None and not isinstance(system, str):
        raise InvalidRequest(f"Line {number} of the file has a 'system' that is no text.")
    return Prompt(0, text, system, value.get("id"))


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def in_order(
    work: Callable[[_Item], _Result], items: Sequence[_Item], *, num_workers: int
) -> Iterator[_Result]:
    """`work` on all items, `num_workers` at a time; results in the order of the items.

    The first error of `work` is raised at its item's turn. The threads do not keep the process
    alive: after a Ctrl-C nobody waits for answers that nobody will read.
    """
    results: list[queue.SimpleQueue[_Result | BaseException]] = [queue.SimpleQueue() for _ in items]
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(items)):
        todo.put(index)

    def labour() -> None:
        while True:
            try:
                index = todo.get_nowait()
            except queue.Empty:
                return
            try:
                results[index].put(work(items[index]))
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                results[index].put(error)

    for _ in range(min(num_workers, len(items))):
        threading.Thread(target=labour, daemon=True).start()
    try:
        for result in results:
            made = result.get()
            if isinstance(made, BaseException):
                raise made
            yield made
    finally:
        with suppress(queue.Empty):
            while True:
                todo.get_nowait()
