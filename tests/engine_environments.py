"""Engines with an environment of their own, as tests find them: made once by `make test-engines`.

They hold gigabytes, so `make test` does not make them: what needs one is skipped with the reason.
`HEARTH_TEST_ENGINES=required` turns the skip into a failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codehearth.engines.environments import Environments, Installed

# Below the data folder that the Makefile names.
ENVIRONMENTS = Path(__file__).parent.parent / ".engines" / "engines"


def installed(engine: str) -> Installed:
    """The engine's environment; the test is skipped where there is none."""
    state = Environments(ENVIRONMENTS).state(engine)
    if isinstance(state, Installed):
        return state
    reason = f"the engine {engine} has no environment here: `make test-engines` makes it"
    if os.environ.get("HEARTH_TEST_ENGINES") == "required":
        pytest.fail(reason)
    pytest.skip(reason)
