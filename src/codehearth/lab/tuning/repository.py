"""A repository's own functions as a training set: bodies to fill in, and functions to write.

1. Files are those that git knows, else all that are not hidden; of languages with a grammar here.
2. Held out are the newest files (added by the latest commits) and some by a hash of their path:
   whole files, so that nothing of a file is on both sides.
3. Every function becomes an example of infilling: its body between what stands around it. One that
   says what it does becomes a request, too, answered with its code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codehearth.errors import InvalidRequest
from codehearth.lab.tuning.examples import Chat, Code, Example, Message
from codehearth.repo.files import files_of, git, read_text
from codehearth.text.functions import Function, functions
from codehearth.text.languages import language_of_file

_MAX_FILE_BYTES = 200_000
_MIN_BODY, _MAX_BODY = 20, 800  # characters: less teaches nothing, more does not fit a row
_NEWEST_SHARE = 0.05
_HASHED_SHARE = 0.05


@dataclass(frozen=True)
class RepositoryExamples:
    name: str
    training: tuple[Example, ...]
    held_out: tuple[Example, ...]
    why: tuple[str, ...]


def examples_of(root: Path, *, seed: int) -> RepositoryExamples:
    """Raises InvalidRequest where there are no functions to learn."""
    root = root.expanduser().absolute()
    if not root.is_dir():
        raise InvalidRequest(f"'{root.name}' is no folder.", param="repo")
    files = files_of(root)
    newest, hashed = _held_out(root, files, seed)
    seen: set[str] = set()
    sides: dict[bool, list[Example]] = {False: [], True: []}
    num_functions = 0
    for file in files:
        for code, function in _functions(root, file):
            body = code[function.body_start : function.end].strip()
            if body in seen:
                continue
            seen.add(body)
            num_functions += 1
            sides[file in newest or file in hashed] += _examples(file, code, function)
    if not sides[False]:
        raise InvalidRequest(
            f"'{root.name}' holds no functions in a language that is read here.",
            hint="Python, JavaScript, TypeScript, Java, C, C++, Go, Rust and Bash are",
            param="repo",
        )
    why = (
        f"{root.name}: {num_functions} functions in {len(files)} files",
        f"held out: {len(newest)} files of the latest commits, "
        f"{len(hashed - newest)} by their path",
    )
    return RepositoryExamples(root.name, tuple(sides[False]), tuple(sides[True]), why)


def _examples(file: str, code: str, function: Function) -> Iterator[Example]:
    yield Code(code, 0, file, ((function.body_start, function.end),))
    if function.comment:
        language = language_of_file(file)
        name = language.name if language else ""
        asked = f"Write the {name} function `{function.name}`.\n{function.comment}"
        text = _dedented(code, function)
        answer = f"```{name.lower()}\n{text}\n```"
        yield Chat((Message("user", asked), Message("assistant", answer)))


def _dedented(code: str, function: Function) -> str:
    """The function as it would stand at the left margin."""
    line_start = code.rfind("\n", 0, function.start) + 1
    margin = code[line_start : function.start]
    lines = code[function.start : function.end].split("\n")
    strip = margin if not margin.strip() else ""
    return "\n".join([lines[0], *(line.removeprefix(strip) for line in lines[1:])])


def _functions(root: Path, file: str) -> Iterator[tuple[str, Function]]:
    language = language_of_file(file)
    code = read_text(root, file, max_bytes=_MAX_FILE_BYTES)
    if language is None or code is None:
        return
    for function in functions(language.name, code):
        if _MIN_BODY <= function.end - function.body_start <= _MAX_BODY:
            yield code, function


def _held_out(root: Path, files: Sequence[str], seed: int) -> tuple[set[str], set[str]]:
    added = _times_added(root)
    dated = sorted((file for file in files if file in added), key=lambda file: -added[file])
    is_history = len({added[file] for file in dated}) > 1
    newest = set(dated[: round(_NEWEST_SHARE * len(files))]) if is_history else set()
    hashed = {file for file in files if _share_of(file, seed) < _HASHED_SHARE}
    return newest, hashed


def _share_of(file: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{file}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def _times_added(root: Path) -> dict[str, int]:
    """When each file came in, as git tells; empty without a history."""
    told = git(root, "log", "--diff-filter=A", "--name-only", "--relative", "--format=%x00%ct")
    times: dict[str, int] = {}
    for commit in (told or "").split("\0"):
        moment, _, names = commit.partition("\n")
        if moment.strip().isdigit():
            times.update({name: int(moment) for name in names.split("\n") if name})
    return times
