"""Engines with an environment of their own, as tests find them: made once by `make test-engines`.

They hold gigabytes, so `make test` does not make them: what needs one is skipped with the reason.
`HEARTH_TEST_ENGINES=required` turns the skip into a failure; `skipped` skips also where one is
there, or is just being made.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codehearth.engines.environments import Environments
from codehearth.engines.installed import Installed

# Below the data folder that the Makefile names.
ENGINES_DATA = Path(__file__).parent.parent / ".engines"
ENVIRONMENTS = ENGINES_DATA / "engines"


def installed(engine: str) -> Installed:
    """The engine's environment; the test is skipped where there is none."""
    if os.environ.get("HEARTH_TEST_ENGINES") == "skipped":
        raise _lacking(f"the engine {engine} is not to be tested now")
    state = Environments(ENVIRONMENTS).state(engine)
    if isinstance(state, Installed):
        return state
    raise _lacking(f"the engine {engine} has no environment here")


def lmdeploy_parser() -> tuple[Path, Path]:
    """A Python and the folder of packages that let it import LMDeploy's parser."""
    packages = ENGINES_DATA / "lmdeploy-parser"
    if not packages.is_dir():
        raise _lacking("LMDeploy's parser is not here")
    return installed("vllm").python, packages


def _lacking(what: str) -> BaseException:
    """What ends a test that needs it: a skip, or a failure where engines are required."""
    reason = f"{what}: `make test-engines` makes it"
    if os.environ.get("HEARTH_TEST_ENGINES") == "required":
        return pytest.fail.Exception(reason)
    return pytest.skip.Exception(reason)
