"""What the tests of the store share: a loopback hub and a home of their own for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_samples import MakeStore
from loopback_hub import LoopbackHub

from codehearth.models.store import Store

# Before any client library is imported: they read it once.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture
def environment(hub: LoopbackHub, tmp_path: Path) -> dict[str, str]:
    """The hubs' variables, both pointing to the loopback hub."""
    return {
        "HOME": str(tmp_path / "home"),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": hub.endpoint,
        "MODELSCOPE_CACHE": str(tmp_path / "ms"),
        "MODELSCOPE_HOME": str(tmp_path / "ms-home"),
        "MODELSCOPE_ENDPOINT": hub.endpoint,
    }


@pytest.fixture
def make_store(environment: dict[str, str], tmp_path: Path) -> MakeStore:
    """A store on the test's own folders; keywords are the Store's, `variables` are added."""

    def make(variables: dict[str, str] | None = None, **options: object) -> Store:
        options.setdefault("free_bytes", lambda _: 10**15)
        return Store(
            tmp_path / "data",
            environment={**environment, **(variables or {})},
            **options,  # type: ignore[arg-type]
        )

    return make
