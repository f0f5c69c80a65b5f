"""The training loop: a schedule, a checkpoint that resumes exactly, a JSON line a report."""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask
from torch.utils.data import DataLoader, Dataset

from .muon import Muon
from .network import Network, Shape, initialise, num_parameters, within_segments
from .windows import Mixture

SAVE_S = 90


@dataclass(frozen=True)
class Recipe:
    """How to train; the window schedule is (until this share of the training, window length).

    Training ends at `max_tokens`, or after `max_minutes` on a machine that is slower than hoped:
    the learning rate falls to zero by whichever comes first.
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
    seed: int = 1


@dataclass(frozen=True)
class Earlier:
    """Weights to go on from: a Hugging Face folder of this shape that saw `num_tokens`."""

    folder: Path
    num_tokens: int


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


def train(
    mixture_at: Callable[[float], Mixture],
    shape: Shape,
    recipe: Recipe,
    out: Path,
    *,
    device: str,
    earlier: Earlier | None = None,
    workers: int = 0,
    report_steps: int = 50,
) -> Network:
    """Train until `max_tokens`, resuming from `out/checkpoint.pt` when it is there.

    `earlier` replaces a random beginning; its tokens count as seen.
    `mixture_at` gives the mixture at a share of the tokens, as the learning rate is given.
    `workers` processes make batches ahead; with none they are made between the steps.
    """
    torch.manual_seed(recipe.seed)
    network = Network(shape)
    initialise(network, recipe.seed)
    network.to(device)
    optimisers = _optimisers(network, recipe)
    progress = _resume(out, network, optimisers) or _begin(network, recipe, earlier)
    print(f"{num_parameters(network)} parameters, from step {progress.step}", flush=True)
    loss_of = torch.compile(_loss, dynamic=False) if device == "cuda" else _loss
    began = time.monotonic() - progress.seconds
    saved = time.monotonic()
    losses: list[Tensor] = []
    for batch in _batches(mixture_at, recipe, progress, workers):
        rate = rate_at(
            recipe, step=progress.step - progress.first_step, share=done_share(recipe, progress)
        )
        inputs, targets, segments = _on_device(batch, device)
        loss = loss_of(network, inputs, targets, within_segments(segments))
        loss.backward()
        _update(network, optimisers, rate)
        losses.append(loss.detach())
        progress.step += 1
        progress.num_tokens += inputs.numel()
        progress.seconds = time.monotonic() - began
        if progress.step % report_steps == 0:
            _report(out, progress, recipe, inputs.shape[1], losses)
            losses = []
        if time.monotonic() - saved > SAVE_S:
            _save(out, network, optimisers, progress, recipe)
            saved = time.monotonic()
    _save(out, network, optimisers, progress, recipe)
    return network


def batch_at(mixture: Mixture, recipe: Recipe, step: int, window: int) -> np.ndarray:
    """Inputs, targets and segments (3, B, T) of int16; a pure function of the seed and the step."""
    num_rows = max(1, recipe.tokens_a_step // window)
    rows = [mixture.row(f"{recipe.seed}/{step}/{i}", window) for i in range(num_rows)]
    return np.array(
        [
            [row.inputs for row in rows],
            [row.targets for row in rows],
            [row.segments for row in rows],
        ],
        dtype=np.int16,
    )


@dataclass(frozen=True)
class _Batches(Dataset[np.ndarray]):
    """Batches by their step and the share of the training at which they are drawn."""

    mixture_at: Callable[[float], Mixture]
    recipe: Recipe

    def __getitem__(self, place: tuple[int, float]) -> np.ndarray:
        step, share = place
        window = window_at(self.recipe, share)
        return batch_at(self.mixture_at(share), self.recipe, step, window)


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


def _batches(
    mixture_at: Callable[[float], Mixture], recipe: Recipe, progress: Progress, workers: int
) -> Iterator[np.ndarray]:
    batches = _Batches(mixture_at, recipe)
    places = _Places(recipe, progress)
    if not workers:
        for place in places:
            yield batches[place]
        return
    loader = DataLoader(
        batches,
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


def _on_device(batch: np.ndarray, device: str) -> Tensor:
    """The batch as integers on the device; on a GPU nothing waits for the copy."""
    found = torch.from_numpy(batch)
    if device == "cuda":
        found = found.pin_memory()
    return found.to(device, non_blocking=True).long()


def _as_it_is(batch: np.ndarray) -> np.ndarray:
    return batch


def load_checkpoint(path: Path) -> tuple[Network, dict[str, Any]]:
    """The network of a checkpoint, and the rest of what it holds."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = Network(Shape(**state["shape"]))
    network.load_state_dict(state["network"])
    return network, state


def _optimisers(network: Network, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the layers' matrices and AdamW for the rest."""
    by_muon = [
        parameter
        for name, parameter in network.named_parameters()
        if recipe.uses_muon and parameter.ndim == 2 and ".layers." in name
    ]
    left = [p for p in network.parameters() if all(p is not taken for taken in by_muon)]
    groups = [
        {"params": [p for p in left if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in left if p.ndim < 2], "weight_decay": 0.0},
    ]
    rate = recipe.learning_rate
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)
    ]
    if by_muon:
        optimisers.append(Muon(by_muon, lr=rate, weight_decay=recipe.weight_decay))
    return optimisers


def _loss(network: Network, inputs: Tensor, targets: Tensor, visible: Tensor | BlockMask) -> Tensor:
    with torch.autocast(inputs.device.type, torch.bfloat16):
        logits = network(inputs, visible)
    return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def _update(network: Network, optimisers: list[torch.optim.Optimizer], rate: float) -> None:
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def _report(
    out: Path, progress: Progress, recipe: Recipe, window: int, losses: list[Tensor]
) -> None:
    line = asdict(progress) | {"window": window, "loss": float(torch.stack(losses).mean())}
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    first_tokens = progress.first_step * recipe.tokens_a_step
    speed = (progress.num_tokens - first_tokens) / progress.seconds
    print(
        f"{100 * done_share(recipe, progress):5.1f} %  step {progress.step}  "
        f"loss {line['loss']:.3f}  window {window}  {speed:.0f} tokens/s",
        flush=True,
    )


def _save(
    out: Path,
    network: Network,
    optimisers: list[torch.optim.Optimizer],
    progress: Progress,
    recipe: Recipe,
) -> None:
    state = {
        "shape": asdict(network.shape),
        "recipe": asdict(recipe),
        "progress": asdict(progress),
        "network": network.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
    }
    torch.save(state, out / "checkpoint.part")
    (out / "checkpoint.part").replace(out / "checkpoint.pt")


def _begin(network: Network, recipe: Recipe, earlier: Earlier | None) -> Progress:
    if earlier is None:
        return Progress()
    weights = load_file(earlier.folder / "model.safetensors")
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    step = earlier.num_tokens // recipe.tokens_a_step
    return Progress(step=step, first_step=step, num_tokens=earlier.num_tokens)


def _resume(
    out: Path, network: Network, optimisers: list[torch.optim.Optimizer]
) -> Progress | None:
    path = out / "checkpoint.pt"
    if not path.exists():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    for optimiser, earlier in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(earlier)
    return Progress(**state["progress"])
