"""The host's side of one run: the program's files, its input, and a folder it may write to."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codehearth.lab.sandbox.program import Program


@dataclass(frozen=True)
class Place:
    """A folder with a name of its own, gone after the block."""

    root: Path

    @classmethod
    @contextlib.contextmanager
    def made(cls, program: Program) -> Iterator[Place]:
        root = Path(tempfile.mkdtemp(prefix="hearth-sandbox-"))
        place = cls(root)
        try:
            root.chmod(0o711)
            _open_folder(place.files)
            place.folder.mkdir(mode=0o700)
            for name, content in program.files.items():
                path = place.files / name
                _open_folder(path.parent)
                path.write_text(content, encoding="utf-8", errors="replace")
                path.chmod(0o644)
            place.stdin.write_text(program.stdin, encoding="utf-8", errors="replace")
            yield place
        finally:
            shutil.rmtree(root, ignore_errors=True)

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def folder(self) -> Path:
        return self.root / "folder"

    @property
    def stdin(self) -> Path:
        return self.root / "stdin"


def _open_folder(path: Path) -> None:
    """A folder that the program's user may read, whatever this process's umask is."""
    path.mkdir(exist_ok=True)
    path.chmod(0o755)
