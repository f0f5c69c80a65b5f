"""Takes out of a virtual environment what a server never opens; prints what each step freed.

    python3 slim.py ENVIRONMENT [--without-page]

It runs inside the image's build, with the system's Python and the standard library alone.
"""

from __future__ import annotations

import argparse
import compileall
import py_compile
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

# Found by looking: the page's tests pass without them. Gradio's document needs templates/frontend;
# its server-side rendering (templates/node) is off, and its sample pictures and sounds are unused.
_UNUSED = (
    "gradio/templates/node",
    "gradio/media_assets",
    "gradio/test_data",
    "gradio/_frontend_code",
)
_UNUSED_ENDINGS = (".pyi", ".pyx", ".pxd", ".h", ".hpp", ".c", ".map", ".a")
_INSTALLERS = ("pip", "setuptools", "wheel")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("environment", type=Path)
    parser.add_argument("--without-page", action="store_true")
    asked = parser.parse_args()
    site = next((asked.environment / "lib").glob("python3*/site-packages"))
    if asked.without_page:
        told(site, "the page's packages", without(site, {"gradio"}))
    told(site, "installers", [path for name in _INSTALLERS for path in of_package(site, name)])
    told(site, "parts that are not used", [site / name for name in _UNUSED])
    told(site, "packages' own tests", [p for p in site.rglob("tests") if p.is_dir()])
    told(site, "sources and maps", [p for p in site.rglob("*") if p.suffix in _UNUSED_ENDINGS])
    before = size(site)
    strip(site.rglob("*.so*"))
    print(f"{'symbols':<26} {(before - size(site)) / 1e6:7.1f} MB")
    compileall.compile_dir(
        site, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    print(f"{'what stays':<26} {size(asked.environment) / 1e6:7.1f} MB")


def told(site: Path, what: str, paths: Iterable[Path]) -> None:
    before = size(site)
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    print(f"{what:<26} {(before - size(site)) / 1e6:7.1f} MB")


def without(site: Path, dropped: set[str], root: str = "codehearth") -> Iterator[Path]:
    """The files of every package that `root` would not need if it did not need `dropped`."""
    here = {normal(one.metadata["Name"]): one for one in metadata.distributions(path=[str(site)])}
    kept, todo = set(_INSTALLERS), [root]
    while todo:
        name = normal(todo.pop())
        if name in kept or name in dropped or name not in here:
            continue
        kept.add(name)
        for requirement in here[name].requires or ():
            if "extra ==" not in requirement:
                found = re.match(r"[A-Za-z0-9._-]+", requirement)
                todo += [found[0]] if found else []
    for name in here.keys() - kept:
        yield from of_package(site, name)


def of_package(site: Path, name: str) -> Iterator[Path]:
    """The files that a package recorded, and its folder of metadata."""
    for package in metadata.distributions(path=[str(site)], name=name):
        for file in package.files or ():
            path = Path(str(package.locate_file(file)))
            if path.resolve().is_relative_to(site.resolve()):
                yield path
                yield from path.parent.glob(f"__pycache__/{path.stem}.*.pyc")
        yield from site.glob(f"{name.replace('-', '_')}-*.dist-info")


def strip(libraries: Iterable[Path]) -> None:
    for library in libraries:
        if library.is_file() and not library.is_symlink():
            subprocess.run(["strip", "--strip-unneeded", library], capture_output=True, check=False)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


if __name__ == "__main__":
    main()
