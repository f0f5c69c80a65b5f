"""Starts a worker in an engine's own Python: ``python -P .../workers/start.py NAME ARGUMENT ...``.

NAME is a package beside this file with a module `program`. The package of all workers is made by
hand: to put the base install on this Python's path would put all its packages before those of the
engine. A worker that is started so may use the others with relative imports, and nothing else of
the house.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_PACKAGE = "hearth_workers"


def main(arguments: list[str]) -> int:
    name, *others = arguments
    folder = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    spec.loader.exec_module(package)
    program = importlib.import_module(f"{_PACKAGE}.{name}.program")
    return int(program.main(others))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
