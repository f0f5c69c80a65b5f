"""The training loop: a schedule, a checkpoint that resumes exactly, a JSON line a report."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from .network import Network, Shape, initialise, num_parameters
from .windows import Mixture


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
    report_steps: int = 50,
) -> Network:
    """Train until `max_tokens`, resuming from `out/checkpoint.pt` when it is there.

    `earlier` replaces a random beginning; its tokens count as seen.
    `mixture_at` gives the mixture at a share of the tokens, as the learning rate is given.
    """
    torch.manual_seed(recipe.seed)
    network = Network(shape)
    initialise(network, recipe.seed)
    network.to(device)
    optimiser = _optimiser(network, recipe)
    progress = _resume(out, network, optimiser) or _begin(network, recipe, earlier)
    print(f"{num_parameters(network)} parameters, from step {progress.step}", flush=True)
    began = time.monotonic() - progress.seconds
    losses: list[Tensor] = []
    while (share := done_share(recipe, progress)) < 1:
        window = window_at(recipe, share)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(recipe, step=progress.step - progress.first_step, share=share)
        batch = batch_at(mixture_at(share), recipe, progress.step, window)
        losses.append(_step(network, optimiser, [part.to(device) for part in batch]))
        progress.step += 1
        progress.num_tokens += batch[0].numel()
        progress.seconds = time.monotonic() - began
        if progress.step % report_steps == 0:
            _report(out, progress, recipe, window, losses)
            losses = []
        if progress.step % (5 * report_steps) == 0:
            _save(out, network, optimiser, progress, recipe)
    _save(out, network, optimiser, progress, recipe)
    return network


def batch_at(
    mixture: Mixture, recipe: Recipe, step: int, window: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and segments, each (B, T); a pure function of the seed and the step."""
    num_rows = max(1, recipe.tokens_a_step // window)
    rows = [mixture.row(f"{recipe.seed}/{step}/{i}", window) for i in range(num_rows)]
    return (
        torch.tensor([row.inputs for row in rows]),
        torch.tensor([row.targets for row in rows]),
        torch.tensor([row.segments for row in rows]),
    )


def load_checkpoint(path: Path) -> tuple[Network, dict[str, Any]]:
    """The network of a checkpoint, and the rest of what it holds."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = Network(Shape(**state["shape"]))
    network.load_state_dict(state["network"])
    return network, state


def _optimiser(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)


def _step(network: Network, optimiser: torch.optim.Optimizer, batch: list[Tensor]) -> Tensor:
    inputs, targets, segments = batch
    with torch.autocast(inputs.device.type, torch.bfloat16):
        logits = network(inputs, segments)
    loss = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return loss.detach()


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
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    recipe: Recipe,
) -> None:
    state = {
        "shape": asdict(network.shape),
        "recipe": asdict(recipe),
        "progress": asdict(progress),
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
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


def _resume(out: Path, network: Network, optimiser: torch.optim.Optimizer) -> Progress | None:
    path = out / "checkpoint.pt"
    if not path.exists():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    return Progress(**state["progress"])
