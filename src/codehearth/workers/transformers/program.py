"""The program: its arguments, its start and its end.

The key comes in HEARTH_ENGINE_KEY, because everybody may read a process's arguments. It ends when
it is told to (SIGTERM: at once) or with code 1 and one line that begins with ``error:`` when the
model cannot be loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .loading import Loaded

KEY_VARIABLE = "HEARTH_ENGINE_KEY"
EXIT_NOT_LOADED = 1


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hearth-transformers", allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="say what is here, and end")
    parser.add_argument("--model", default="", help="a folder, or a GGUF file")
    parser.add_argument("--alias", default="")
    parser.add_argument("--socket", default="")
    parser.add_argument("--context-tokens", type=int, default=4096, help="of each slot")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, default=128, help="of a prompt, at once")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--dtype", choices=("bf16", "fp16", "fp32"), default="fp32")
    parser.add_argument("--quantise", choices=("int8", "int4"), default=None)
    parser.add_argument("--chat-template", help="a file, instead of the checkpoint's own")
    parser.add_argument("--adapter", action="append", default=[], help="PEFT's folder, applied")
    parser.add_argument("--allow-code", action="store_true", help="run the checkpoint's own code")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    asked = parse_arguments(arguments)
    # Whatever a checkpoint says, nothing is fetched, and nothing is compiled: packages that do so
    # (GPTQModel) take minutes for it at each start, and a compiler.
    os.environ.update(
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        TOKENIZERS_PARALLELISM="false",
        TORCHDYNAMO_DISABLE="1",
    )
    if asked.check:
        from .loading import facts

        print(json.dumps(facts()))  # noqa: T201
        return 0
    key = os.environ.pop(KEY_VARIABLE, "")
    if not key:
        _say(f"error: {KEY_VARIABLE} is not set")
        return 2
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    loaded = _loaded(asked)
    if loaded is None:
        return EXIT_NOT_LOADED
    return asyncio.run(_serve(asked, loaded, key))


def _loaded(asked: argparse.Namespace) -> Loaded | None:
    _say("worker: importing PyTorch and transformers")
    from .loading import CannotLoad, load

    try:
        loaded = load(asked, say=lambda text: _say(f"worker: {text}"))
        loaded.warm_up()
    except CannotLoad as error:
        _say(f"error: {error}")
        return None
    except MemoryError:
        _say("error: out of memory")
        return None
    return loaded


async def _serve(asked: argparse.Namespace, loaded: Loaded, key: str) -> int:
    from .listener import listen
    from .loop import Loop
    from .routes import Routes

    loop = Loop(
        loaded,
        num_slots=asked.slots,
        batch_tokens=asked.batch_tokens,
        deliver=asyncio.get_running_loop().call_soon_threadsafe,
    )
    loop.start()
    routes = Routes(loaded, loop, alias=asked.alias, context_tokens=asked.context_tokens)
    server = await listen(asked.socket, key, routes)
    _say(f"worker: serving at {asked.socket}")
    async with server:
        await server.serve_forever()
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
