"""A server in small: starts one engine, prints its pid and the socket's folder, and waits.

    python tests/engines/keeper.py [--gguf PATH] FLAGS_OF_THE_FAKE_ENGINE...

Tests kill it, to see what becomes of the engine.
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from engines.children import fake_command

from codehearth.engines.base import Launch
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.process import EngineProcess


async def main(arguments: list[str]) -> None:
    command = fake_command(*arguments)
    if arguments[:1] == ["--gguf"]:
        launch = Launch(Path(arguments[1]), "kept", 512, 1, 1)
        command = partial(LlamaCpp({"PATH": os.environ["PATH"]}).command, launch)
    process = EngineProcess("kept", command)
    endpoint = await process.ensure_ready()
    assert endpoint.socket_path is not None
    print(process.pid, endpoint.socket_path.parent, flush=True)  # noqa: T201
    await process.wait_dead()


asyncio.run(main(sys.argv[1:]))
