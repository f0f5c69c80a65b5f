"""The program: its arguments, and what it loads and serves (`serving.py`)."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import TYPE_CHECKING

from .job import Deliver
from .serving import load_and_serve, parser_of, say

if TYPE_CHECKING:
    from .loading import Loaded
    from .loop import Loop


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = parser_of("transformers")
    parser.add_argument("--batch-tokens", type=int, default=128, help="of a prompt, at once")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--dtype", choices=("bf16", "fp16", "fp32"), default="fp32")
    parser.add_argument("--quantise", choices=("int8", "int4"), default=None)
    parser.add_argument("--chat-template", help="a file, instead of the checkpoint's own")
    parser.add_argument("--adapter", action="append", default=[], help="PEFT's folder; several")
    parser.add_argument("--allow-code", action="store_true", help="run the checkpoint's own code")
    return parser.parse_args(arguments)


def forbid_fetching_and_compiling() -> None:
    """Whatever a checkpoint says, nothing is fetched, and nothing is compiled: packages that do so
    (GPTQModel) take minutes for it at each start, and a compiler."""
    os.environ.update(
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        TOKENIZERS_PARALLELISM="false",
        TORCHDYNAMO_DISABLE="1",
    )


def main(arguments: list[str]) -> int:
    asked = parse_arguments(arguments)
    forbid_fetching_and_compiling()
    if asked.check:
        from .loading import facts

        print(json.dumps(facts()))  # noqa: T201
        return 0

    def computing(loaded: Loaded, deliver: Deliver) -> Loop:
        from .loop import Loop

        loop = Loop(loaded, num_slots=asked.slots, batch_tokens=asked.batch_tokens, deliver=deliver)
        loop.start()
        return loop

    return load_and_serve(asked, lambda: _loaded(asked), computing)


def _loaded(asked: argparse.Namespace) -> Loaded:
    """Says what it does before it does it, and at the end what each part took."""
    began = time.perf_counter()
    say("worker: importing PyTorch and transformers")
    from .loading import load
    from .warming import warm_up

    imported = time.perf_counter()
    loaded = load(asked, say=lambda text: say(f"worker: {text}"))
    read = time.perf_counter()
    say("worker: computing a first time")
    warm_up(loaded)
    warm = time.perf_counter()
    say(
        f"worker: imported in {imported - began:.1f} s, read in {read - imported:.1f} s, "
        f"computed a first time in {warm - read:.1f} s"
    )
    return loaded
