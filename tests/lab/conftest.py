"""What the tests of the lab share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command_line import Hearth


@pytest.fixture
def hearth(tmp_path: Path) -> Hearth:
    """The command line in a fresh home."""
    home = tmp_path / "home"
    home.mkdir()
    return Hearth(home)
