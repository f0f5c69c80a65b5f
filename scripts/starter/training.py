"""The training loop: a checkpoint that resumes exactly, a JSON line a report."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask

from .batches import batches
from .muon import Muon
from .network import Network, Shape, initialise, num_parameters, within_segments
from .schedule import Progress, Recipe, done_share, rate_at
from .windows import Mixture

SAVE_S = 90


@dataclass(frozen=True)
class Earlier:
    """Weights to go on from: a Hugging Face folder of this shape that saw `num_tokens`."""

    folder: Path
    num_tokens: int


def train(
    mixture_at: Callable[[float], Mixture],
    kept: Mixture,
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
    `mixture_at` gives the mixture at a share of the tokens, as the learning rate is given;
    `kept` is that of the rows which are only there so that nothing is forgotten.
    `workers` processes make batches ahead; with none they are made between the steps.
    """
    torch.manual_seed(recipe.seed)
    network = Network(shape)
    initialise(network, recipe.seed)
    network.to(device)
    optimisers = _optimisers(network, recipe)
    progress = _resume(out, network, optimisers) or _begin(network, recipe, earlier)
    before = _before(recipe, earlier, shape, device)
    print(f"{num_parameters(network)} parameters, from step {progress.step}", flush=True)
    loss_of, said_by = (
        torch.compile(function, dynamic=False) if device == "cuda" else function
        for function in (_loss, _log_probabilities)
    )
    began = time.monotonic() - progress.seconds
    saved = time.monotonic()
    losses: list[Tensor] = []
    for batch in batches(mixture_at, kept, recipe, progress, workers):
        rate = rate_at(
            recipe, step=progress.step - progress.first_step, share=done_share(recipe, progress)
        )
        inputs, targets, segments, weights = _on_device(batch, device)
        wanted = None
        if before is not None:  # a mask of its own: one for a GPU cannot be cut
            rows = slice(recipe.kept_rows)
            wanted = said_by(before, inputs[rows], within_segments(segments[rows]))
        loss, unweighted = loss_of(
            network, inputs, targets, weights, within_segments(segments), wanted, recipe.kept_weight
        )
        loss.backward()
        _update(network, optimisers, rate)
        losses.append(unweighted)
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


def _on_device(batch: np.ndarray, device: str) -> Tensor:
    """The batch as integers on the device; on a GPU nothing waits for the copy."""
    found = torch.from_numpy(batch)
    if device == "cuda":
        found = found.pin_memory()
    return found.to(device, non_blocking=True).long()


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


def _loss(
    network: Network,
    inputs: Tensor,  # (B, T), as all of them
    targets: Tensor,
    weights: Tensor,
    visible: Tensor | BlockMask,
    wanted: Tensor | None,  # of the rows that are kept, (rows, T, vocabulary)
    kept_weight: float,
) -> tuple[Tensor, Tensor]:
    """The mean surprise in nats a token: each by its weight, to learn from, and all alike.

    On the first rows, where logarithms of probabilities are `wanted`, what counts is not the
    surprise but how far the network strays from these (learning without forgetting, Li and Hoiem
    2016, arXiv 1606.09282).
    """
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=_computes_bf16(inputs.device)):
        logits = network(inputs, visible).float()
    losses = functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="none"
    ).view_as(targets)
    surprise = losses.detach().mean()
    if wanted is not None:
        rows = len(wanted)
        strayed = functional.kl_div(
            functional.log_softmax(logits[:rows], dim=-1), wanted, reduction="none", log_target=True
        ).sum(dim=-1)
        losses = torch.cat([kept_weight * strayed, losses[rows:]])
    return (losses * weights).sum() / weights.sum(), surprise


@torch.no_grad()
def _log_probabilities(network: Network, inputs: Tensor, visible: Tensor | BlockMask) -> Tensor:
    """What the network says of each next token (B, T, vocabulary)."""
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=_computes_bf16(inputs.device)):
        logits = network(inputs, visible)
    return functional.log_softmax(logits.float(), dim=-1)


def _computes_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster there: without AVX-512 a CPU works it out in software, far slower."""
    if device.type == "cuda":
        return True
    is_supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return is_supported


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
    network.load_state_dict(_network_of(earlier, network.shape).state_dict())
    step = earlier.num_tokens // recipe.tokens_a_step
    return Progress(step=step, first_step=step, num_tokens=earlier.num_tokens)


def _before(recipe: Recipe, earlier: Earlier | None, shape: Shape, device: str) -> Network | None:
    """The weights that the kept rows are held to, where the recipe keeps any."""
    if not recipe.kept_rows:
        return None
    if earlier is None:
        raise ValueError("rows are kept as earlier weights have them, and there are none")
    return _network_of(earlier, shape).to(device)


def _network_of(earlier: Earlier, shape: Shape) -> Network:
    weights = load_file(earlier.folder / "model.safetensors")
    network = Network(shape)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return network


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
