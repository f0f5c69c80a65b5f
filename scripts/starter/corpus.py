"""Python source to learn from: found, filtered, de-duplicated and split; nothing is downloaded.

The standard library of the running interpreter and those packages of `PACKAGES` that are installed
beside it (`pip install -r scripts/requirements-starter.txt`). Licences come from each package's
own metadata.
"""

import ast
import hashlib
import re
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

Source = Literal["stdlib", "teaching", "library"]

TEACHING_PACKAGES = ("algorithms", "more-itertools", "toolz", "boltons", "sortedcontainers")
LIBRARY_PACKAGES = (
    "attrs",
    "cachetools",
    "click",
    "flask",
    "jinja2",
    "networkx",
    "pluggy",
    "pytest",
    "rich",
    "starlette",
    "werkzeug",
)
HELD_OUT_PACKAGES = ("cachetools", "pluggy")

PERMISSIVE = re.compile(r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation)\b", re.IGNORECASE)
TEST_FOLDERS = frozenset(
    {"test", "tests", "testing", "idle_test", "site-packages", "__pycache__", "pydoc_data"}
)
MIN_FILE_CHARACTERS = 400
MAX_LINE_CHARACTERS = 400
HELD_OUT_PER_MILLE = 40
MIN_CORPUS_BYTES = 1_000_000


class CorpusError(Exception):
    """The corpus cannot be trained on; the message says what was found and what is needed."""


@dataclass(frozen=True)
class SourceFile:
    """One file of the corpus; `path` is relative to its package, never to this machine."""

    package: str
    path: str
    source: Source
    text: str

    @property
    def num_bytes(self) -> int:
        return len(self.text.encode())


@dataclass(frozen=True)
class PackageRecord:
    """What the model card says about one package."""

    name: str
    version: str
    licence: str


@dataclass(frozen=True)
class Corpus:
    """Files to learn from, files kept away from training, and where all of them came from."""

    training: tuple[SourceFile, ...]
    held_out: tuple[SourceFile, ...]
    packages: tuple[PackageRecord, ...]


def read_corpus(*, min_bytes: int = MIN_CORPUS_BYTES) -> Corpus:
    """The whole corpus of this environment, held-out part apart."""
    packages = tuple(_installed_packages())
    files: list[SourceFile] = list(_standard_library())
    for record in packages:
        files.extend(_package_files(record.name))
    return split_corpus(files, packages=packages, min_bytes=min_bytes)


def split_corpus(
    files: Iterable[SourceFile], *, packages: tuple[PackageRecord, ...] = (), min_bytes: int
) -> Corpus:
    """Filter, de-duplicate, split by package and by file; refuse what is too small to train on."""
    kept = list(without_duplicates(file for file in files if is_worth_learning(file.text)))
    training = tuple(file for file in kept if not is_held_out(file))
    num_bytes = sum(file.num_bytes for file in training)
    if num_bytes == 0:
        raise CorpusError("the corpus is empty: no Python file was found that passes the filters")
    if num_bytes < min_bytes:
        raise CorpusError(
            f"the corpus is too small: {num_bytes} bytes in {len(training)} files, "
            f"at least {min_bytes} are needed"
        )
    return Corpus(training, tuple(file for file in kept if is_held_out(file)), packages)


def is_held_out(file: SourceFile) -> bool:
    """By package, or by a hash of package and path: the same files on every machine."""
    if file.package in HELD_OUT_PACKAGES:
        return True
    digest = hashlib.sha256(f"{file.package}/{file.path}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 1000 < HELD_OUT_PER_MILLE


def is_worth_learning(text: str) -> bool:
    """Python that parses and was written by hand: no tables of numbers, no endless lines."""
    if len(text) < MIN_FILE_CHARACTERS or "\0" in text:
        return False
    if max(map(len, text.splitlines())) > MAX_LINE_CHARACTERS:
        return False
    num_ascii_letters = sum(character.isascii() and character.isalpha() for character in text)
    num_visible = sum(not character.isspace() for character in text)
    if num_ascii_letters < 0.5 * num_visible:
        return False
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def without_duplicates(files: Iterable[SourceFile]) -> Iterator[SourceFile]:
    """Drop a file when most of its longer lines were already seen in files before it.

    Lines, not whole files: vendored copies differ by a header or a patch.
    """
    seen: set[bytes] = set()
    for file in files:
        lines = {
            hashlib.blake2b(line.strip().encode(), digest_size=8).digest()
            for line in file.text.splitlines()
            if len(line.strip()) > 25
        }
        if len(lines & seen) > 0.5 * len(lines):
            continue
        seen |= lines
        yield file


def _standard_library() -> Iterator[SourceFile]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if TEST_FOLDERS.isdisjoint(relative.parts) and (text := _read(path)):
            yield SourceFile("python", relative.as_posix(), "stdlib", text)


def _installed_packages() -> Iterator[PackageRecord]:
    for name in sorted((*TEACHING_PACKAGES, *LIBRARY_PACKAGES)):
        try:
            about = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        licence = _licence(about)
        if not PERMISSIVE.search(licence):
            raise CorpusError(f"{name} {about['Version']} has the licence {licence!r}: not learnt")
        yield PackageRecord(name, str(about["Version"]), licence)


def _licence(about: metadata.PackageMetadata) -> str:
    expression = _field(about, "License-Expression")
    if expression:
        return expression
    classifiers = [
        line.rsplit(" :: ", 1)[-1]
        for line in about.get_all("Classifier") or []
        if line.startswith("License ::")
    ]
    first_line = (_field(about, "License") or "unknown").strip().splitlines()[0]
    return ", ".join(classifiers) or first_line


def _field(about: metadata.PackageMetadata, name: str) -> str:
    return str(about[name]) if name in about else ""


def _package_files(name: str) -> Iterator[SourceFile]:
    source: Source = "teaching" if name in TEACHING_PACKAGES else "library"
    for entry in sorted(metadata.files(name) or [], key=str):
        if entry.suffix == ".py" and TEST_FOLDERS.isdisjoint(entry.parts):
            text = _read(Path(str(entry.locate())))
            if text:
                yield SourceFile(name, entry.as_posix(), source, text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").replace("\r\n", "\n").expandtabs(4)
    except (UnicodeDecodeError, OSError):
        return ""
