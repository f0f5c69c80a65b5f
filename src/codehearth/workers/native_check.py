"""Starts llama.cpp's programs once, beside the Python that runs this, and says what they are.

``python native_check.py llama-server …`` prints one JSON object: `version`, `programs`, `devices`.
The standard library only.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_TIMEOUT_S = 60


def main(programs: Sequence[str]) -> int:
    folder = Path(sys.executable).parent
    for program in programs:
        _said(folder / program, "--help")
    version = re.search(r"version: (\S+)", _said(folder / programs[0], "--version"))
    devices = re.findall(r"^\s+(\w+): ", _said(folder / programs[0], "--list-devices"), re.M)
    facts = {
        "version": version[1] if version else "unknown",
        "programs": list(programs),
        "devices": ["cpu", *devices],
    }
    print(json.dumps(facts))  # noqa: T201
    return 0


def _said(program: Path, word: str) -> str:
    """What it writes; raises OSError where it does not run, as a wrong instruction shows."""
    answer = subprocess.run(
        [str(program), word],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if answer.returncode < 0:
        raise OSError(f"{program.name} {word} was killed by signal {-answer.returncode}")
    return answer.stdout.decode("utf-8", "replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
