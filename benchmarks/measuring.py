"""What the benchmarks share: real processes, their CPU seconds, medians and a line of results."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from codehearth.gateway.running import Running, find_running

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Server:
    """A running `hearth serve` of its own, with a home of its own."""

    running: Running
    process: psutil.Process

    @property
    def port(self) -> int:
        return int(self.running.url.rsplit(":", 1)[1])


def cpu_s(process_id: int) -> float:
    """CPU seconds of a process, its children not included; on Linux to the nanosecond."""
    threads = Path(f"/proc/{process_id}/task")
    if threads.exists():
        return sum(int((t / "schedstat").read_text().split()[0]) for t in threads.iterdir()) / 1e9
    times = psutil.Process(process_id).cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def hearth_server(*flags: str, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """`hearth serve --port 0` as a child, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="hearth-benchmark-") as home:
        ours = {
            "HEARTH_DATA": f"{home}/data",
            "XDG_CONFIG_HOME": f"{home}/config",
            "HEARTH_PAGE": "false",  # a page in the making takes seconds of this process
        }
        child = subprocess.Popen(
            [sys.executable, "-m", "codehearth", "serve", "--port", "0", *flags],
            env=os.environ | ours | (environment or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Server(_wait_for_server(Path(home) / "data", child), psutil.Process(child.pid))
        finally:
            child.terminate()
            child.wait(20)


def _wait_for_server(data: Path, child: subprocess.Popen[bytes]) -> Running:
    while (running := find_running(data)) is None:
        if child.poll() is not None:
            raise SystemExit(f"the server ended with {child.returncode}")
        time.sleep(0.005)
    return running


def machine() -> str:
    """The line that stands above results: machine, load and versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = f"Python {platform.python_version()}, xllamacpp {version('xllamacpp')}"
    return (
        f"{platform.system()} {platform.machine()}, {cores} cores, "
        f"load {os.getloadavg()[0]:.1f}, {versions}, {time.strftime('%Y-%m-%d')}"
    )


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
