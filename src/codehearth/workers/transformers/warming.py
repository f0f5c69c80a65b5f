"""What is computed before anybody asks, so that the first user does not pay for what is set up
lazily: on a GPU that is every kernel, loaded when it is first used."""

from __future__ import annotations

import torch

from . import batch as batches
from .job import Sampling
from .loading import Loaded, give_back_memory
from .sampling import Chooser, choose


def warm_up(loaded: Loaded) -> None:
    """One pass; on a GPU, where it takes no time, one of each kind that answers are made of."""
    with torch.inference_mode():
        if loaded.device.type == "cpu":
            loaded.model(torch.zeros((1, 1), dtype=torch.long, device=loaded.device))
        else:
            answer(loaded)
    give_back_memory()


def answer(loaded: Loaded) -> None:
    """Reads a prompt alone and two of different lengths together, and writes two tokens to each."""
    samplings = (Sampling(temperature=0), Sampling(top_p=0.8, seed=0))
    for prompts in ([[0, 0]], [[0], [0, 0]]):
        choosers = [
            Chooser(sampling, prompt) for prompt, sampling in zip(prompts, samplings, strict=False)
        ]
        batch = batches.read(loaded, prompts)
        for _ in range(2):
            batches.step(loaded, batch, choose(batch.logits, choosers))
