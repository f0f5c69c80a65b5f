"""`hearth serve` as a child process, with a home of its own: what a user really starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from codehearth.gateway.running import find_running
from tests.tiny_models import tiny_qwen2


@dataclass
class Hearth:
    """A home folder, and the servers and commands that live in it."""

    home: Path

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def environment(self) -> dict[str, str]:
        ours = {
            "HOME": str(self.home),
            "HEARTH_DATA": str(self.data),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "HF_HOME": str(self.home / "hf"),
            "MODELSCOPE_CACHE": str(self.home / "ms"),
            "HF_HUB_OFFLINE": "1",
            "HEARTH_PAGE": "false",  # making it costs seconds; the page's own tests ask for it
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEARTH_")}
        return kept | ours

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "codehearth", *arguments],
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.home,
        )

    @contextlib.contextmanager
    def serving(self, *flags: str, **more: str) -> Iterator[Server]:
        """A server that takes requests, until the block ends."""
        with (self.home / "stderr.txt").open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "codehearth", "serve", "--port", "0", *flags],
                env=self.environment | more,
                stdout=output,
                stderr=output,
                cwd=self.home,
            )
        try:
            yield Server(self._url(child), child)
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(40)
            except subprocess.TimeoutExpired:
                child.kill()
                raise

    def _url(self, child: subprocess.Popen[bytes]) -> str:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            running = find_running(self.data)
            if running is not None and running.pid == child.pid:
                return running.url
            assert child.poll() is None, (self.home / "stderr.txt").read_text()
            time.sleep(0.02)
        raise AssertionError("the server did not start: " + (self.home / "stderr.txt").read_text())


@dataclass
class Server:
    url: str
    child: subprocess.Popen[bytes]

    def post(self, path: str, body: dict[str, Any], **options: Any) -> httpx2.Response:
        return httpx2.post(self.url + path, json=body, timeout=60, **options)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=60, **options)

    def engines(self) -> list[psutil.Process]:
        return psutil.Process(self.child.pid).children(recursive=True)


@pytest.fixture
def hearth(tmp_path: Path) -> Hearth:
    return Hearth(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the starter model, shared by the tests that only ask."""
    with Hearth(tmp_path_factory.mktemp("home")).serving() as running:
        yield running


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that llama.cpp loads; its name is `tiny`."""
    return tiny_qwen2(tmp_path_factory.mktemp("models"))
