"""Muon (Jordan 2024): momentum whose matrix is made orthogonal, for the matrices within layers.

torch has one (`torch.optim.Muon`) that goes matrix by matrix; a network of many small ones spends
more time on starting kernels than on computing. Here all matrices of one shape are one batch.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

# Newton-Schulz iteration of order five, as published and as in torch.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonal updates as large as AdamW's (Liu 2025, arXiv 2502.16982)."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        matrices = list(parameters)
        shapes = sorted({tuple(matrix.shape) for matrix in matrices})
        super().__init__(
            [{"params": [m for m in matrices if tuple(m.shape) == shape]} for shape in shapes],
            {"lr": lr, "weight_decay": weight_decay, "momentum": momentum},
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every matrix; all of them have gradients."""
        for group in self.param_groups:
            matrices = group["params"]
            gradient = torch.stack([matrix.grad for matrix in matrices])
            state = self.state[matrices[0]]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(gradient)
            momentum = state["momentum"]
            momentum.lerp_(gradient, 1 - group["momentum"])
            update = orthogonal(gradient.lerp_(momentum, group["momentum"]))
            rows, columns = matrices[0].shape
            torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
            scale = -group["lr"] * 0.2 * max(rows, columns) ** 0.5
            torch._foreach_add_(matrices, list(update.to(matrices[0].dtype).unbind()), alpha=scale)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (N, rows, columns) with their singular values near one, in bf16."""
    first, second, third = COEFFICIENTS
    x = matrices.bfloat16()
    is_tall = x.shape[-2] > x.shape[-1]
    if is_tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(NUM_ITERATIONS):
        square = x @ x.mT
        x = first * x + (second * square + third * square @ square) @ x
    return x.mT if is_tall else x
