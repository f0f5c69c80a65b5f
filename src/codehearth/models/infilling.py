"""What was found when a model was asked for a middle whose answer is known.

A proof belongs to one file as it was: another size or time makes it void. Proofs are kept as small
files in the data folder; whoever deletes them has them made anew at the next load.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from codehearth.models.whole_file import write_whole

_FOLDER = "infilling"


@dataclass(frozen=True, kw_only=True)
class InfillProof:
    """`problems` says what was wrong with the prompt; `is_right` whether the answer was.

    A weak model may answer wrong to a prompt without problems: it can infill, though not well.
    """

    format: str
    engine: str
    is_right: bool
    answer: str
    problems: tuple[str, ...] = ()
    proven_at: float = 0.0


class InfillProofs:
    """The proofs in a data folder."""

    def __init__(self, data_folder: Path) -> None:
        self._folder = data_folder / _FOLDER

    def find(self, weights_path: Path) -> InfillProof | None:
        """The proof of the file as it is now; None where there is none."""
        try:
            document = json.loads(self._place(weights_path).read_text("utf-8"))
            if document.pop("file") != _identity(weights_path):
                return None
            return InfillProof(**document | {"problems": tuple(document["problems"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def keep(self, weights_path: Path, proof: InfillProof) -> None:
        """Raises OSError where the folder cannot be written."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        document = asdict(proof) | {"file": _identity(weights_path), "proven_at": time.time()}
        write_whole(self._place(weights_path), json.dumps(document))

    def _place(self, weights_path: Path) -> Path:
        name = "".join(c if c.isalnum() or c in "._-" else "-" for c in weights_path.name)
        return self._folder / f"{name[:100]}.json"


def _identity(weights_path: Path) -> list[str | int]:
    path = weights_path.resolve()
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]
