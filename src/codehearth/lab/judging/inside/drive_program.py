"""Builds a program, gives it each case's input, and writes what it printed to descriptor 3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_MAX_OUTPUT = 64 << 10
_BUILD_S = 20.0


def run() -> None:
    order = json.loads(sys.stdin.read())
    Path(order["source"]).write_text(order["code"], encoding="utf-8")
    if order["build"]:
        built = subprocess.run(
            order["build"], capture_output=True, timeout=_BUILD_S, stdin=subprocess.DEVNULL
        )
        if built.returncode != 0:
            detail = built.stderr.decode("utf-8", "replace")[-500:]
            return _tell({"failed": "syntax", "detail": detail})
    for given in order["inputs"]:
        done = subprocess.run(order["start"], input=given.encode(), capture_output=True)
        said = done.stdout[:_MAX_OUTPUT].decode("utf-8", "replace")
        errors = done.stderr.decode("utf-8", "replace")[-500:]
        if done.returncode != 0:
            _tell({"raised": f"status {done.returncode}: {errors}".strip()})
        else:
            _tell({"value": said})
    return None


def _tell(document: dict[str, object]) -> None:
    line = json.dumps(document).encode() + b"\n"
    while line:
        line = line[os.write(3, line) :]
