"""Where the programs and the library are that `hearth engines install llamacpp-native` builds."""

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
_LIBRARY = "libllama.dylib" if sys.platform == "darwin" else "libllama.so"


@dataclass(frozen=True)
class NativeTools:
    """llama.cpp's programs, built for this CPU. `knows_gpus`: and for its GPU. `library` is what
    they compute with; None where an older release has built them without."""

    server: Path
    quantize: Path
    perplexity: Path
    imatrix: Path
    bench: Path
    library: Path | None = None
    knows_gpus: bool = False


def native_tools(environments: Path) -> NativeTools | None:
    """The programs below the folder of environments; None where they were not built."""
    state = Environments(environments).state(ENGINE)
    if not isinstance(state, Installed):
        return None
    knows_gpus = state.device == "cuda" or sys.platform == "darwin"
    paths = {tool: state.program(name) for tool, name in _TOOLS.items()}
    library = state.python.parent.parent / "lib" / _LIBRARY
    return NativeTools(
        **paths, library=library if library.exists() else None, knows_gpus=knows_gpus
    )
