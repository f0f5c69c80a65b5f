"""The program: its arguments, and what it loads and serves (`transformers/serving.py`).

fastllm's library writes what it likes to standard output and ends the process where it cannot read
a checkpoint, so its last lines are the only cause there is.
"""

from __future__ import annotations

import argparse
import json
import os

from ..transformers.job import Deliver
from ..transformers.serving import load_and_serve, parser_of
from .library import Library, facts
from .loop import Loop


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = parser_of("fastllm")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float16", "int8", "int4"), default="float16")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    asked = parse_arguments(arguments)
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    if asked.check:
        print(json.dumps(facts()))  # noqa: T201
        return 0

    def computing(library: Library, deliver: Deliver) -> Loop:
        loop = Loop(library, num_slots=asked.slots, deliver=deliver)
        loop.start()
        return loop

    return load_and_serve(asked, lambda: Library(asked), computing)
