"""The program: its arguments, its start and its end; as `transformers/program.py`.

The key comes in HEARTH_ENGINE_KEY. fastllm's library writes what it likes to standard output and
ends the process where it cannot read a checkpoint, so its last lines are the only cause there is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys

KEY_VARIABLE = "HEARTH_ENGINE_KEY"
EXIT_NOT_LOADED = 1


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hearth-fastllm", allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="say what is here, and end")
    parser.add_argument("--model", default="", help="a checkpoint's folder")
    parser.add_argument("--alias", default="")
    parser.add_argument("--socket", default="")
    parser.add_argument("--context-tokens", type=int, default=4096, help="of each slot")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float16", "int8", "int4"), default="float16")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    asked = parse_arguments(arguments)
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    if asked.check:
        from .library import facts

        print(json.dumps(facts()))  # noqa: T201
        return 0
    key = os.environ.pop(KEY_VARIABLE, "")
    if not key:
        _say(f"error: {KEY_VARIABLE} is not set")
        return 2
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    from .library import CannotLoad, Library

    try:
        library = Library(asked)
    except CannotLoad as error:
        _say(f"error: {error}")
        return EXIT_NOT_LOADED
    return asyncio.run(_serve(asked, library, key))


async def _serve(asked: argparse.Namespace, library: object, key: str) -> int:
    from ..transformers.listener import listen
    from ..transformers.routes import Routes
    from .library import Library
    from .loop import Loop

    assert isinstance(library, Library)
    loop = Loop(
        library,
        num_slots=asked.slots,
        deliver=asyncio.get_running_loop().call_soon_threadsafe,
    )
    loop.start()
    routes = Routes(library, loop, alias=asked.alias, context_tokens=asked.context_tokens)
    server = await listen(asked.socket, key, routes)
    _say(f"worker: serving at {asked.socket}")
    async with server:
        await server.serve_forever()
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
