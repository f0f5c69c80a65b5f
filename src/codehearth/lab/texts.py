"""The texts that models are measured and calibrated on."""

from __future__ import annotations

import hashlib
import platform
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codehearth.errors import InvalidRequest, NotFound

MAX_BYTES = 4 << 20

# Modules of Python's own library, of many hands and kinds: on every machine, no download. The
# packaged starter was not shown these (`scripts/starter/corpus.py`), and a test says so.
_MODULES = (
    "compileall", "concurrent/futures/process", "datetime", "dis", "email/_policybase", "glob",
    "html/parser", "linecache", "multiprocessing/context", "tokenize", "xmlrpc/server",
    "curses/ascii", "multiprocessing/resource_sharer", "importlib/resources/_legacy",
    "importlib/metadata/_adapters",
)  # fmt: skip
# No module may fill the text alone.
_BYTES_OF_A_MODULE = 12_000
# Others, so that what was calibrated on them is not measured on what it has seen.
_CALIBRATION_MODULES = (
    "ast", "asyncio/base_events", "asyncio/streams", "bdb", "codeop", "copy", "doctest",
    "email/message", "enum", "ftplib", "gzip", "http/client", "imaplib",
    "inspect", "ipaddress", "locale", "mailbox", "os", "pathlib", "pdb", "pickle", "plistlib",
    "pprint", "random", "selectors", "shutil", "smtplib", "socket", "socketserver", "sqlite3/dump",
    "subprocess", "tarfile", "threading", "timeit", "traceback", "typing",
    "unittest/case", "urllib/parse", "uuid", "warnings", "weakref", "xml/dom/minidom",
)  # fmt: skip


@dataclass(frozen=True)
class Text:
    title: str
    content: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content.encode()).hexdigest()


def packaged_text() -> Text:
    """Code of this Python's standard library. It differs between versions of Python, and its hash
    stands in every result; models other than the starter have most likely read it in training."""
    return _library_text(_MODULES, "the standard library of Python")


def calibration_text() -> Text:
    """Other code of that library: what is calibrated on it is not measured on the same text."""
    return _library_text(_CALIBRATION_MODULES, "other modules of the standard library of Python")


def _library_text(modules: Sequence[str], title: str) -> Text:
    folder = Path(sysconfig.get_paths()["stdlib"])
    parts = []
    for module in modules:
        path = folder / f"{module}.py"
        if path.is_file():
            content = path.read_text(encoding="utf-8", errors="ignore")
            cut = content.rfind("\n", 0, _BYTES_OF_A_MODULE) + 1
            parts.append(content[: cut or None])
    if not parts:
        raise InvalidRequest(
            "This Python comes without the sources of its library.",
            hint="name a text of yours",
        )
    version = ".".join(platform.python_version_tuple()[:2])
    return Text(f"{title} {version}", "\n".join(parts))


def text_of_file(path: Path) -> Text:
    """A text file's content; raises NotFound and InvalidRequest."""
    try:
        raw = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except FileNotFoundError as error:
        raise NotFound(f"There is no file '{path}'.") from error
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"'{path}' cannot be read.") from error
    if raw is None:
        raise InvalidRequest(
            f"'{path.name}' is larger than {MAX_BYTES >> 20} MiB.", hint="take a part of it"
        )
    try:
        return Text(path.name, raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"'{path.name}' is not a text in UTF-8.") from error
