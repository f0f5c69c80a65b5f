"""Which of PyTorch's ways to compute attention are used."""

from __future__ import annotations

import torch


def without_plans() -> None:
    """Never cuDNN's attention, which PyTorch prefers on Hopper and datacentre Blackwell GPUs.

    cuDNN makes a plan for every number of rows and every length that it has not met yet, and keeps
    all of them (PyTorch's `cudnn/MHA.cpp`). An answer has another length at each token. Measured on
    an H200 with torch 2.11: 128 tokens took 9 s the first time, 2.1 s the second, 17.4 s when first
    written four at a time, and the process grew by some 3 MiB a length. PyTorch's own kernels take
    any length. Not measured since: no such GPU was at hand any more. The environment variable for
    this has changed its name and its sense between releases.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)
