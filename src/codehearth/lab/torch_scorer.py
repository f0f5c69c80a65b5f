"""Reads a text with a quantised checkpoint, or one that is quantised as it loads: `scorer`'s kin.

A child of `scoring.py` under the Python of the engine's own environment. Job, windows, figures and
lines are `scorer`'s, and the weights are loaded by the engine's own code, so that its rows stand in
one table with llama.cpp's: the tokens are the same ids.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codehearth.lab.logits import Array, compared, is_finite
from codehearth.lab.scorer import EXIT_REFUSED, Refused
from codehearth.lab.voice import own_voice
from codehearth.workers.transformers.loading import Loaded, load
from codehearth.workers.transformers.program import forbid_fetching_and_compiling, parse_arguments
from codehearth.workers.transformers.serving import CannotLoad


def main() -> int:
    job = json.load(sys.stdin)
    tell = own_voice()
    forbid_fetching_and_compiling()
    # GPTQModel waits for ever where it has more workers than there are cores.
    os.environ["GPTQMODEL_CPU_WORKERS"] = str(max(2, job["num_threads"]))
    try:
        network = _Network(job)
        with torch.inference_mode():
            for line in _score(network, job):
                tell(line)
    except (CannotLoad, Refused) as error:
        tell({"error": "BadWeights", "message": str(error)})
        return EXIT_REFUSED
    return 0


def _score(network: _Network, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    with Path(job["logits"]).open("rb") as kept:
        for number, tokens in enumerate(job["windows"]):
            logits = network.second_half(tokens)
            if not is_finite(logits):
                raise Refused(
                    f"The model computes NaN or infinity in window {number + 1} of the text."
                )
            reference = np.fromfile(kept, np.float32, logits.size).reshape(logits.shape)
            targets = np.asarray(tokens[len(tokens) // 2 + 1 :])
            yield {"window": number, **compared(reference, logits, targets, job["num_threads"])}
    for prompt in job["prompts"]:
        yield {"greedy": network.continued(prompt, job["num_new_tokens"])}


class _Network:
    """The model on the CPU, as the engine loads it."""

    def __init__(self, job: dict[str, Any]) -> None:
        asked = {"model": job["model"], "threads": job["num_threads"], "device": "cpu",
                 "dtype": "bf16"}  # fmt: skip
        if job["precision"]:
            asked["quantise"] = job["precision"]
        argv = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
        self._loaded: Loaded = load(parse_arguments(argv), say=lambda _: None)
        self._vocabulary = int(job["vocabulary_size"])
        if self._loaded.vocabulary_size < self._vocabulary:
            raise Refused("The checkpoint has fewer tokens than the reference.")
        begun = self._loaded.tokenizer("a")["input_ids"]
        first = self._loaded.tokenizer.bos_token_id
        self._first = first if first is not None and begun[:1] == [first] else None

    def second_half(self, tokens: Sequence[int]) -> Array:
        """Logits (S, V) behind each token of the second half but the last."""
        scored = slice(len(tokens) // 2, len(tokens) - 1)
        logits = self._loaded.model(self._ids(self._begun(tokens))).logits[0, scored]
        found: Array = logits[:, : self._vocabulary].float().numpy()
        return found

    def continued(self, prompt: Sequence[int], num_new_tokens: int) -> list[int]:
        """The likeliest tokens behind `prompt`, up to the first that ends a text."""
        answer = self._loaded.model(self._ids(self._begun(prompt)), use_cache=True)
        made: list[int] = []
        for _ in range(num_new_tokens):
            token = int(answer.logits[0, -1, : self._vocabulary].argmax())
            if token in self._loaded.end_ids:
                break
            made.append(token)
            answer = self._loaded.model(
                self._ids([token]), use_cache=True, past_key_values=answer.past_key_values
            )
        return made

    def _ids(self, tokens: Sequence[int]) -> torch.Tensor:
        return torch.tensor([list(tokens)], dtype=torch.long, device=self._loaded.device)

    def _begun(self, tokens: Sequence[int]) -> list[int]:
        """With the token that begins a text in place of the first, where the model wants one."""
        return list(tokens) if self._first is None else [self._first, *tokens[1:]]


if __name__ == "__main__":
    sys.exit(main())
