"""Imports vLLM's server once and says what it is, as one JSON object.

The Python is that of vLLM's own environment; nothing of the house is there.
"""

from __future__ import annotations

import importlib.metadata
import json


def main() -> None:
    import torch
    import vllm
    import vllm.entrypoints.openai.api_server  # the long way: what it needs must be there
    from vllm.platforms import current_platform

    gpus = [torch.cuda.get_device_name(one) for one in range(torch.cuda.device_count())]
    facts = {
        "version": vllm.__version__.partition("+")[0],
        "devices": gpus or [current_platform.device_type or "none"],
        "torch": importlib.metadata.version("torch"),
    }
    print(json.dumps(facts))  # noqa: T201


if __name__ == "__main__":
    main()
