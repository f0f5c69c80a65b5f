"""Imports LMDeploy's command line once and says what it is, as one JSON object.

The Python is that of LMDeploy's own environment; nothing of the house is there.
"""

from __future__ import annotations

import importlib.metadata
import json


def main() -> None:
    import lmdeploy
    import torch
    from lmdeploy.cli.entrypoint import run  # noqa: F401  what it needs must be there

    facts = {
        "version": lmdeploy.__version__,
        "devices": [torch.cuda.get_device_name(one) for one in range(torch.cuda.device_count())],
        "torch": importlib.metadata.version("torch"),
    }
    print(json.dumps(facts))  # noqa: T201


if __name__ == "__main__":
    main()
