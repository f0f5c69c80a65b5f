"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_line import Hearth, served


@pytest.fixture
def hearth(tmp_path: Path) -> Hearth:
    """The command line in a fresh home."""
    home = tmp_path / "home"
    home.mkdir()
    return Hearth(home)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hearth]:
    """The command line in a home where a server with the starter model runs."""
    hearth = Hearth(tmp_path_factory.mktemp("house"))
    with served(hearth) as url:
        hearth.url = url
        yield hearth
