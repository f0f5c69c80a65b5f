"""The programs of `inside/`, as the sandbox starts them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from codehearth.lab.sandbox import Program, Protection
from codehearth.lab.sandbox.interpreters import program_path, python_for

_INSIDE = Path(__file__).parent / "inside"
_START = "import sys; sys.path.insert(0, sys.argv.pop()); from inside.{} import run; run()"


def in_python(
    name: str,
    order: Mapping[str, object],
    protection: Protection,
    *,
    reserves_memory: bool = False,
) -> Program:
    """`run` of a module of `inside/`, with its order as JSON on standard input."""
    argv = (str(python_for(protection)), "-I", "-S", "-c", _START.format(name), "{files}")
    return Program(argv, _modules(), json.dumps(order), reserves_memory)


def in_node(name: str, order: Mapping[str, object]) -> Program:
    """A script of `inside/`, as above."""
    argv = (str(program_path("node")), "--max-old-space-size=256", f"{{files}}/{name}.js")
    files = {f"{name}.js": _INSIDE.joinpath(f"{name}.js").read_text(encoding="utf-8")}
    return Program(argv, files, json.dumps(order), reserves_memory=True)


@cache
def _modules() -> dict[str, str]:
    return {
        f"inside/{path.name}": path.read_text(encoding="utf-8") for path in _INSIDE.glob("*.py")
    }
