"""The life of a worker that holds a model: it loads it, and serves it until it is ended.

It ends when it is told to (SIGTERM: at once), or with code 1 and one line that begins with
``error:`` when the model cannot be loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

from .job import Computing, Deliver, Vocabulary
from .listener import EXIT_NO_KEY, listen, take_key

EXIT_NOT_LOADED = 1

Model = TypeVar("Model", bound=Vocabulary)


class CannotLoad(Exception):
    """Why a model cannot be served, as a sentence without a folder's name."""


def parser_of(worker: str) -> argparse.ArgumentParser:
    """The arguments that every such worker has."""
    parser = argparse.ArgumentParser(prog=f"hearth-{worker}", allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="say what is here, and end")
    parser.add_argument("--model", default="", help="a checkpoint's folder, or a GGUF file")
    parser.add_argument("--alias", default="")
    parser.add_argument("--socket", default="")
    parser.add_argument("--context-tokens", type=int, default=4096, help="of each slot")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def load_and_serve(
    asked: argparse.Namespace,
    load: Callable[[], Model],
    computing: Callable[[Model, Deliver], Computing],
) -> int:
    """Serve what `load` returns; the exit code. `load` may raise CannotLoad and MemoryError.

    `computing` starts the thread that computes; what it delivers is called in this one.
    """
    key = take_key()
    if key is None:
        return EXIT_NO_KEY
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        model = load()
    except CannotLoad as error:
        say(f"error: {error}")
        return EXIT_NOT_LOADED
    except MemoryError:
        say("error: out of memory")
        return EXIT_NOT_LOADED
    asyncio.run(_serve(asked, model, computing, key))
    return 0


async def _serve(
    asked: argparse.Namespace,
    model: Model,
    computing: Callable[[Model, Deliver], Computing],
    key: str,
) -> None:
    from .routes import Routes

    loop = computing(model, asyncio.get_running_loop().call_soon_threadsafe)
    routes = Routes(model, loop, alias=asked.alias, context_tokens=asked.context_tokens)
    server = await listen(asked.socket, key, routes)
    say(f"worker: serving at {asked.socket}")
    async with server:
        await server.serve_forever()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
