"""How a training goes on: what is wanted of it, how far it is, the rate and the window then."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How to train; the window schedule is (until this share of the training, window length).

    Training ends at `max_tokens`, or after `max_minutes` on a machine that is slower than hoped:
    the learning rate falls to zero by whichever comes first.
    On the first `kept_rows` of a batch the network shall not learn but go on answering as the
    weights it began with; what it strays there weighs `kept_weight` times as much.
    """

    max_tokens: int
    max_minutes: float = math.inf
    tokens_a_step: int = 1024
    windows: tuple[tuple[float, int], ...] = ((0.45, 256), (0.75, 512), (0.95, 256), (1.0, 512))
    learning_rate: float = 2e-3
    warmup_steps: int = 200
    decay_share: float = 0.6
    weight_decay: float = 0.05
    uses_muon: bool = False
    kept_rows: int = 0
    kept_weight: float = 10.0
    seed: int = 1


def rate_at(recipe: Recipe, *, step: int, share: float) -> float:
    """Warm up, hold, then fall in a line to zero over the last `decay_share` of the tokens.

    `step` counts from where the optimiser was new.
    """
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    return recipe.learning_rate * min(warm, max(0.0, (1 - share) / recipe.decay_share))


def window_at(recipe: Recipe, share: float) -> int:
    longest = recipe.windows[-1][1]
    return next((window for until, window in recipe.windows if share < until), longest)


@dataclass
class Progress:
    """What a checkpoint carries beside weights and optimiser; `first_step` had a new optimiser."""

    step: int = 0
    first_step: int = 0
    num_tokens: int = 0
    seconds: float = 0.0


def done_share(recipe: Recipe, progress: Progress) -> float:
    return max(
        progress.num_tokens / recipe.max_tokens, progress.seconds / (60 * recipe.max_minutes)
    )
