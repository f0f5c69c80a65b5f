"""Batches of rows: made between the steps, or ahead by processes of their own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import DataLoader, Dataset

from .schedule import Progress, Recipe, done_share, window_at
from .windows import Mixture


def batches(
    mixture_at: Callable[[float], Mixture],
    kept: Mixture,
    recipe: Recipe,
    progress: Progress,
    workers: int,
) -> Iterator[np.ndarray]:
    """Batches from where the progress is to the end; `workers` processes make them ahead.

    The first `kept_rows` of each are of the mixture `kept`.
    """
    drawn = _Batches(mixture_at, kept, recipe)
    places = _Places(recipe, progress)
    if not workers:
        for place in places:
            yield drawn[place]
        return
    loader = DataLoader(
        drawn,
        batch_size=None,
        sampler=places,  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=4,
        collate_fn=_as_it_is,
        multiprocessing_context="fork",
    )
    for batch in loader:
        if done_share(recipe, progress) >= 1:
            return
        yield batch


def batch_at(mixture: Mixture, kept: Mixture, recipe: Recipe, step: int, window: int) -> np.ndarray:
    """Inputs, targets, segments and weights (4, B, T) of int16; pure in the seed and the step."""
    num_rows = max(1, recipe.tokens_a_step // window)
    rows = [
        (kept if i < recipe.kept_rows else mixture).row(f"{recipe.seed}/{step}/{i}", window)
        for i in range(num_rows)
    ]
    return np.array(
        [
            [row.inputs for row in rows],
            [row.targets for row in rows],
            [row.segments for row in rows],
            [row.weights for row in rows],
        ],
        dtype=np.int16,
    )


@dataclass(frozen=True)
class _Batches(Dataset[np.ndarray]):
    """Batches by their step and the share of the training at which they are drawn."""

    mixture_at: Callable[[float], Mixture]
    kept: Mixture
    recipe: Recipe

    def __getitem__(self, place: tuple[int, float]) -> np.ndarray:
        step, share = place
        window = window_at(self.recipe, share)
        return batch_at(self.mixture_at(share), self.kept, self.recipe, step, window)


@dataclass(frozen=True)
class _Places:
    """Steps from now to the end, each with the share that is done when it is drawn."""

    recipe: Recipe
    progress: Progress

    def __iter__(self) -> Iterator[tuple[int, float]]:
        step = self.progress.step
        while (share := done_share(self.recipe, self.progress)) < 1:
            yield step, share
            step += 1


def _as_it_is(batch: np.ndarray) -> np.ndarray:
    return batch
