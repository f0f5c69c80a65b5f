"""Starts the worker as a file: ``python -P .../fastllm/__main__.py --model ...``.

The folder above is made a package by hand, as `transformers/__main__.py` does and for its reason.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_NAME = "hearth_workers"


def main() -> int:
    folder = Path(__file__).parent.parent
    spec = importlib.util.spec_from_file_location(
        _NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)
    program = importlib.import_module(f"{_NAME}.fastllm.program")
    return int(program.main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
