"""An importance matrix of a model from a text, kept for the next time.

The text is cut into windows as for measuring; one child (`calibrator`) reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from codehearth.errors import DiskFull, EngineFailed
from codehearth.lab import scoring
from codehearth.lab.child import child_lines
from codehearth.lab.importance import Importance, read_importance
from codehearth.lab.texts import Text

CONTEXT_TOKENS = 512
# More say little more; for a model of 7B they take an hour on eight cores.
MAX_WINDOWS = 256


def run(
    model: Path,
    text: Text,
    folder: Path,
    *,
    num_threads: int,
    progress: Callable[[int, int], None],
) -> Importance:
    """The matrix of the GGUF at `model`; `progress` is told windows done, and of how many.

    Raises InvalidRequest for a text too short, BadWeights, DiskFull and EngineFailed.
    """
    target = folder / f"{_identity(model, text)}.gguf"
    if target.is_file():
        return read_importance(target)
    tokens, vocabulary_size = scoring.tokenize(model, text.content)
    windows = scoring.cut(
        tokens,
        vocabulary_size=vocabulary_size,
        context_tokens=CONTEXT_TOKENS,
        max_windows=MAX_WINDOWS,
        num_prompts=1,
    ).windows
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskFull(f"The folder cannot be written ({error.strerror}).") from error
    job = {
        "model": str(model),
        "context_tokens": CONTEXT_TOKENS,
        "num_threads": num_threads,
        "windows": windows,
        "target": str(target),
        "title": text.title,
    }
    for line in child_lines("codehearth.lab.calibrator", job):
        if "window" in line:
            progress(int(line["window"]) + 1, len(windows))
    if not target.is_file():
        raise EngineFailed("The calibration ended without a result.", retry_after_s=None)
    return read_importance(target)


def _identity(model: Path, text: Text) -> str:
    status = model.stat()
    facts = (str(model.resolve()), status.st_size, status.st_mtime_ns, text.sha256, MAX_WINDOWS)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]
