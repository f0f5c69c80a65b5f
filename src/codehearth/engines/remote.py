"""Models of other servers: a small child passes requests on, to one server or to several.

For a team that runs vLLM on Ray or Kubernetes, or one box with GPUs for all. Who may be asked is
the operator's setting `remotes` and never part of a request.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from codehearth.engines.base import (
    Available,
    Command,
    Launch,
    LoadableWeights,
    Unavailable,
)
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.worker import worker_environment
from codehearth.models.remotes import Server

REMOTE_KEY_VARIABLE = "HEARTH_REMOTE_KEY"


@dataclass(frozen=True)
class Remote:
    """The servers of one model. `key` is theirs; it reaches the child in its environment."""

    servers: tuple[Server, ...]
    key: str = field(default="", repr=False)
    ours: dict[str, str] = field(default_factory=dict, repr=False)
    name: str = "remote"

    @property
    def sees_gpus(self) -> bool:
        return False

    @property
    def scores_prompts(self) -> bool:
        return False

    def availability(self) -> Available | Unavailable:
        return Available(self.addresses)

    @property
    def addresses(self) -> str:
        return ", ".join(server.url for server in self.servers)

    def can_load(self, weights: LoadableWeights) -> str | None:
        return "its models are on other servers"

    def command(self, launch: Launch, endpoint: Endpoint) -> Command:
        upstreams = [word for one in self.servers for word in ("--upstream", one.url, one.model)]
        argv = (
            sys.executable, "-P", "-u", "-m", "codehearth.workers.remote",
            "--alias", launch.alias,
            "--socket", str(endpoint.socket_path),
            *upstreams,
        )  # fmt: skip
        environment = worker_environment(self.ours, endpoint)
        if self.key:
            environment[REMOTE_KEY_VARIABLE] = self.key
        return Command(argv, environment, why=(f"served by {self.addresses}",))
