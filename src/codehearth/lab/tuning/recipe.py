"""How a model is trained: every number, and the ones that are taken where none was given; pure.

The recipe is the one that is told everywhere for a 7B model on one GPU (LoRA of rank 8, alpha 32,
dropout 0.1 on the seven matrices of a layer, 384 tokens, 4 x 4 rows a step, 3 epochs, 1e-4). It
does not teach a model of some millions anything: measured on the starter, the loss went from 6.63
to 6.13 with it. So there are two presets.

A small model that is taught hard forgets how to answer anything else: after 96 steps of 3e-3 the
starter told its name to whoever asked for a function. Three things help, and the small preset has
them: a smaller step (1e-3), ending as soon as the held-out rows are known, and rehearsal: among the
rows are questions of every day with the answers that the base itself gives, two for each row. So 75
and 78 of 80 known tasks pass afterwards (two seeds; 76 before). With one for each row it was 73
twice, with one for two rows 72 and 69, and the name was learnt in as many steps.

Few rows make few steps: learnt 8 times, 40 rows left the starter muddling its name in Chinese,
learnt 16 times it answered 25 of 25 questions word for word. So few rows are learnt more often.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from codehearth.errors import InvalidRequest

# Between the starter's millions and half a billion nothing was measured; the border is a guess.
SMALL_PARAMETERS = 100_000_000


@dataclass(frozen=True)
class Hyperparameters:
    """`targets` empty: the seven matrices of a layer, or the family's linear ones.

    `batch` rows are computed at a time on each device, `accumulation` of those make one step.
    `rehearsal` rows of the base's own answers are learnt for each row of the data.
    `checkpointing` computes activations twice instead of keeping them. `save_steps` is how often
    the state is kept and the held-out rows are read; after `patience` looks without a better loss
    the training ends, 0 for never.
    """

    rank: int = 8
    alpha: int = 32
    dropout: float = 0.1
    targets: tuple[str, ...] = ()
    rslora: bool = False
    max_tokens: int = 384
    batch: int = 4
    accumulation: int = 4
    epochs: float = 3.0
    learning_rate: float = 1e-4
    schedule: str = "linear"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    checkpointing: bool = True
    packing: bool = False
    rehearsal: float = 0.0
    patience: int = 2
    save_steps: int = 100

    def as_document(self) -> dict[str, Any]:
        return {**asdict(self), "targets": list(self.targets)}


_LARGE = Hyperparameters()
_SMALL = Hyperparameters(
    learning_rate=1e-3,
    epochs=8.0,
    checkpointing=False,
    rehearsal=2.0,
    patience=1,
    save_steps=10,
)

# For small models: steps' worth of the rows themselves, what is rehearsed not counted. The end is
# sooner where held-out rows are known sooner.
_LEAST_STEPS = 48
_MOST_EPOCHS = 16.0

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "rank": (1, 1024),
    "alpha": (1, 4096),
    "dropout": (0.0, 0.9),
    "max_tokens": (8, 1 << 20),
    "batch": (1, 1024),
    "accumulation": (1, 4096),
    "epochs": (0.01, 1000.0),
    "learning_rate": (1e-8, 1.0),
    "warmup_steps": (0, 1_000_000),
    "weight_decay": (0.0, 1.0),
    "rehearsal": (0.0, 10.0),
    "patience": (0, 1000),
    "save_steps": (1, 1_000_000),
}
SCHEDULES = ("linear", "cosine", "constant")


@dataclass(frozen=True)
class Chosen:
    """The numbers and, for the user, where they come from."""

    hyperparameters: Hyperparameters
    why: str


def choose(num_parameters: int, context_tokens: int, num_rows: int, **asked: Any) -> Chosen:
    """The preset of that size with what was asked for in its place; None asks for nothing.

    Raises InvalidRequest for a number out of its bounds.
    """
    preset = _SMALL if num_parameters < SMALL_PARAMETERS else _LARGE
    given = {name: value for name, value in asked.items() if value is not None}
    for name, value in given.items():
        low, high = _BOUNDS.get(name, (0, 0))
        if name in _BOUNDS and not low <= value <= high:
            flag = name.replace("_", "-")
            raise InvalidRequest(f"--{flag} must be from {low:g} to {high:g}, not {value:g}.")
    chosen = replace(preset, **given)
    if preset is _SMALL and "epochs" not in given:
        chosen = replace(chosen, epochs=_epochs(num_rows, chosen))
    if chosen.max_tokens > context_tokens:
        if "max_tokens" in given:
            raise InvalidRequest(
                f"The model has a context of {context_tokens} tokens, not {chosen.max_tokens}.",
                hint="take a smaller --max-tokens",
            )
        chosen = replace(chosen, max_tokens=context_tokens)
    return Chosen(chosen, _why(num_parameters, chosen, given))


def _epochs(num_rows: int, numbers: Hyperparameters) -> float:
    """As often as the preset says, and as few rows need for enough steps."""
    a_step = numbers.batch * numbers.accumulation
    steps = max(1, math.ceil(num_rows / a_step))
    return min(_MOST_EPOCHS, max(numbers.epochs, float(math.ceil(_LEAST_STEPS / steps))))


def _why(num_parameters: int, chosen: Hyperparameters, given: Mapping[str, Any]) -> str:
    size = "a small model" if num_parameters < SMALL_PARAMETERS else "a model of this size"
    own = f"; your own: {', '.join(sorted(given))}" if given else ""
    return (
        f"preset for {size}: rank {chosen.rank}, alpha {chosen.alpha}, "
        f"{chosen.epochs:g} epochs, learning rate {chosen.learning_rate:g}, "
        f"{chosen.batch} x {chosen.accumulation} rows a step, {chosen.max_tokens} tokens{own}"
    )
