"""Where the programs are that `hearth engines install llamacpp-native` builds."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from codehearth.engines.environments import Environments
from codehearth.engines.installed import Installed

ENGINE = "llamacpp-native"
_TOOLS = {
    "server": "llama-server",
    "quantize": "llama-quantize",
    "perplexity": "llama-perplexity",
    "imatrix": "llama-imatrix",
    "bench": "llama-bench",
}


@dataclass(frozen=True)
class NativeTools:
    """llama.cpp's programs, built for this CPU; each is one file. `knows_gpus`: and for its GPU."""

    server: Path
    quantize: Path
    perplexity: Path
    imatrix: Path
    bench: Path
    knows_gpus: bool = False


def native_tools(environments: Path) -> NativeTools | None:
    """The programs below the folder of environments; None where they were not built."""
    state = Environments(environments).state(ENGINE)
    if not isinstance(state, Installed):
        return None
    knows_gpus = state.device == "cuda" or sys.platform == "darwin"
    paths = {tool: state.program(name) for tool, name in _TOOLS.items()}
    return NativeTools(**paths, knows_gpus=knows_gpus)
