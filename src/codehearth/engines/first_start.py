"""Whether an engine's new environment is good for something: the engine is started in it once."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codehearth.engines.recipes import Recipe
from codehearth.engines.steps import MAX_TAIL_LINES
from codehearth.engines.threads import child_environment
from codehearth.errors import EngineFailed

_CHECK_S = 300.0  # the first import of torch on a slow disk takes a minute


def check(recipe: Recipe, python: Path) -> Mapping[str, Any]:
    """What the engine says of itself when it starts; raises EngineFailed where it does not."""
    try:
        answer = subprocess.run(
            [str(python), *recipe.check],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=child_environment(os.environ),
            timeout=_CHECK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(recipe.engine, str(error)) from error
    facts = _last_object(answer.stdout) if answer.returncode == 0 else None
    if facts is None:
        tail = (answer.stdout + answer.stderr).decode("utf-8", "replace")
        raise _failed(recipe.engine, tail)
    return facts


def _last_object(output: bytes) -> dict[str, Any] | None:
    """The last line that is a JSON object: libraries write their own lines around it."""
    for line in reversed(output.decode("utf-8", "replace").splitlines()):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return None


def _failed(engine: str, tail: str) -> EngineFailed:
    return EngineFailed(
        f"The engine {engine} was installed, and does not start.",
        log_tail="\n".join(tail.strip().splitlines()[-MAX_TAIL_LINES:]),
        hint=f"`hearth engines install {engine}` tries again",
        retry_after_s=None,
    )
