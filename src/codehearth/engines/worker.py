"""Our own programs as an engine's child: where they lie, and what each of them is told."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from codehearth.engines.base import Launch
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.threads import child_environment

WORKERS = Path(__file__).parent.parent / "workers"
START = WORKERS / "start.py"  # what starts a worker in a Python that has nothing of the house


def started(python: Path, name: str) -> tuple[str, ...]:
    """The worker `name` in an engine's own Python; its arguments follow."""
    return (str(python), "-P", "-u", str(START), name)


def loading(launch: Launch, endpoint: Endpoint) -> tuple[str, ...]:
    """The arguments of every worker that holds a model: which one, where, and for how many."""
    return (
        "--model", str(launch.path.absolute()),
        "--alias", launch.alias,
        "--socket", str(endpoint.socket_path),
        "--context-tokens", str(launch.context_tokens),
        "--slots", str(launch.num_slots),
        "--threads", str(launch.num_threads),
    )  # fmt: skip


def translated(
    dialect: str, launch: Launch, endpoint: Endpoint, program: Sequence[str]
) -> tuple[str, ...]:
    """The translator (`workers/front.py`) before an engine's own server."""
    return (
        sys.executable, "-P", "-u", "-m", "codehearth.workers.front",
        "--dialect", dialect,
        "--alias", launch.alias,
        *(word for one in launch.adapters for word in ("--adapter", one.name)),
        "--socket", str(endpoint.socket_path),
        "--",
        *program,
    )  # fmt: skip


def worker_environment(ours: Mapping[str, str], endpoint: Endpoint) -> dict[str, str]:
    """What a child may inherit, and the key, which is no argument because others read those."""
    return child_environment(ours) | {"HEARTH_ENGINE_KEY": endpoint.api_key}
