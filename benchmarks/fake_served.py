"""The gateway before a fake engine, as a process of its own; prints its address."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from tests.gateway.served import FakeModel, served


def main() -> None:
    paced = FakeModel(flags=("--tokens", "400", "--token-delay-s", "0.005"), num_slots=64)
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), {"starter": paced}) as server,
    ):
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
