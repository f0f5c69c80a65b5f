"""Python source to learn from: found, filtered, de-duplicated and split; nothing is downloaded.

The standard library of the running interpreter and the named packages that are installed beside it
(`pip install -r scripts/requirements-starter.txt`, and `--no-deps -r
scripts/requirements-starter-gpu.txt` for the recipe of a GPU). Licences come from each package's
own metadata.
"""

import ast
import hashlib
import json
import lzma
import re
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
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
# Offered under one of the others too, or not to be learnt.
COPYLEFT = re.compile(r"GPL|\bGNU\b|Mozilla|\bMPL|Eclipse|\bEPL|CDDL", re.IGNORECASE)
TEST_FOLDERS = frozenset(
    {"test", "tests", "testing", "idle_test", "site-packages", "__pycache__", "pydoc_data"}
)
# Copies of other projects, with licences of their own.
VENDORED_FOLDERS = frozenset({"_vendor", "_vendored", "vendor", "vendored", "extern", "thirdparty"})
MIN_FILE_CHARACTERS = 400
MAX_LINE_CHARACTERS = 400
HELD_OUT_PER_MILLE = 40
MIN_CORPUS_BYTES = 1_000_000
GPU_PACKAGES = Path(__file__).parents[1] / "requirements-starter-gpu.txt"
MAX_PACKAGE_BYTES = 4_000_000  # so that no few large packages are most of what is learnt


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


def read_corpus(more: Iterable[str] = (), *, min_bytes: int = MIN_CORPUS_BYTES) -> Corpus:
    """The whole corpus of this environment with `more` packages, held-out part apart."""
    packages = tuple(_installed_packages({*TEACHING_PACKAGES, *LIBRARY_PACKAGES, *more}))
    files: list[SourceFile] = list(_standard_library())
    # What is held out comes first: of two copies the first stays, and it must not be learnt.
    for record in sorted(packages, key=lambda record: record.name not in HELD_OUT_PACKAGES):
        files.extend(capped(_package_files(record.name), MAX_PACKAGE_BYTES))
    return split_corpus(files, packages=packages, min_bytes=min_bytes)


def gpu_packages() -> tuple[str, ...]:
    """The names in `requirements-starter-gpu.txt`."""
    lines = GPU_PACKAGES.read_text(encoding="utf-8").splitlines()
    return tuple(line.partition("==")[0] for line in lines if "==" in line)


def capped(files: Iterable[SourceFile], max_bytes: int) -> Iterator[SourceFile]:
    """As many files as fit, drawn by a hash of their path: the same ones on every machine."""
    num_bytes = 0
    for file in sorted(files, key=_digest):
        num_bytes += file.num_bytes
        if num_bytes > max_bytes:
            return
        yield file


def split_corpus(
    files: Iterable[SourceFile], *, packages: tuple[PackageRecord, ...] = (), min_bytes: int
) -> Corpus:
    """Filter, de-duplicate, split by package and by file; refuse what is too small to train on."""
    kept = list(without_duplicates(file for file in files if is_worth_learning(file.text)))
    training = tuple(file for file in kept if not is_held_out(file))
    require_enough(training, min_bytes)
    return Corpus(training, tuple(file for file in kept if is_held_out(file)), packages)


def require_enough(training: tuple[SourceFile, ...], min_bytes: int = MIN_CORPUS_BYTES) -> None:
    """Refuse what is too small to train on."""
    num_bytes = sum(file.num_bytes for file in training)
    if num_bytes == 0:
        raise CorpusError("the corpus is empty: no Python file was found that passes the filters")
    if num_bytes < min_bytes:
        raise CorpusError(
            f"the corpus is too small: {num_bytes} bytes in {len(training)} files, "
            f"at least {min_bytes} are needed"
        )


def is_held_out(file: SourceFile) -> bool:
    """By package, or by a hash of package and path: the same files on every machine."""
    if file.package in HELD_OUT_PACKAGES:
        return True
    return int.from_bytes(_digest(file)[:4], "big") % 1000 < HELD_OUT_PER_MILLE


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


def write_packed(corpus: Corpus, path: Path) -> None:
    """What there is to learn as one file, to train on a machine that has none of the packages."""
    with lzma.open(path, "wt", encoding="utf-8", preset=9) as file:
        file.write(json.dumps([asdict(record) for record in corpus.packages]) + "\n")
        for source_file in corpus.training:
            file.write(json.dumps(asdict(source_file), ensure_ascii=False) + "\n")


def read_packed(path: Path) -> Corpus:
    """What `write_packed` wrote; nothing in it is held out."""
    try:
        with lzma.open(path, "rt", encoding="utf-8", newline="\n") as file:
            packages = tuple(PackageRecord(**record) for record in json.loads(file.readline()))
            return Corpus(tuple(SourceFile(**json.loads(line)) for line in file), (), packages)
    except (OSError, EOFError, lzma.LZMAError, ValueError, TypeError) as error:
        raise CorpusError(f"{path} cannot be read as a packed corpus: {error}") from error


def _digest(file: SourceFile) -> bytes:
    return hashlib.sha256(f"{file.package}/{file.path}".encode()).digest()


def _standard_library() -> Iterator[SourceFile]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if TEST_FOLDERS.isdisjoint(relative.parts) and (text := _read(path)):
            yield SourceFile("python", relative.as_posix(), "stdlib", text)


def _installed_packages(names: set[str]) -> Iterator[PackageRecord]:
    for name in sorted(names):
        try:
            about = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        licence = _licence(about)
        if not PERMISSIVE.search(licence) or COPYLEFT.search(licence):
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
        folders = {part.lower() for part in entry.parts}
        if entry.suffix == ".py" and (TEST_FOLDERS | VENDORED_FOLDERS).isdisjoint(folders):
            text = _read(Path(str(entry.locate())))
            if text:
                yield SourceFile(name, entry.as_posix(), source, text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").replace("\r\n", "\n").expandtabs(4)
    except (UnicodeDecodeError, OSError):
        return ""
