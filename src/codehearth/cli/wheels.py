"""The packages of a bundle: what is installed here, as wheels, with the script that installs them.

The versions are those of this installation, so what was tried here is what runs there. CodeHearth's
own wheel is put together from its installed files: it may come from a clone that no registry knows.
"""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata, resources
from pathlib import Path

from codehearth.cli.licenses import licensed
from codehearth.errors import EngineFailed
from codehearth.models.packing import Packages

_MAX_TAIL_LINES = 12
# Of our own metadata, what belongs to a wheel.
_METADATA = ("METADATA", "WHEEL", "entry_points.txt")


def collect(folder: Path, *, say: Callable[[str], None]) -> Packages:
    """Fills `folder` with `wheels/`, `requirements.txt` and `install.sh`; asks pip's registry.

    Raises EngineFailed with pip's last lines.
    """
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    pins = [f"{one.name}=={one.version}" for one in licensed() if one.name != "codehearth"]
    say(f"fetching {len(pins)} packages")
    _download([*pins, "pip"], wheels)
    own = _own_wheel(wheels)
    names = sorted(wheels.iterdir())
    lines = [_requirement(wheel) for wheel in names if not wheel.name.startswith("pip-")]
    (folder / "requirements.txt").write_text("".join(lines), encoding="utf-8")
    script = resources.files("codehearth.data").joinpath("install_bundle.sh").read_text("utf-8")
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    platform = sysconfig.get_platform()
    script = script.replace("@PYTHON@", python).replace("@PLATFORM@", platform)
    (folder / "install.sh").write_text(script, encoding="utf-8")
    return Packages(folder, version=own, python=python, platform=platform)


def _download(requirements: list[str], folder: Path) -> None:
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--no-input"]
    argv = [sys.executable, "-m", "pip", "download", "--quiet", *options, "--dest", str(folder)]
    done = subprocess.run(
        [*argv, *requirements], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        tail = (done.stdout + done.stderr).strip().splitlines()[-_MAX_TAIL_LINES:]
        hint = "`pip config list` shows which registry is asked"
        if "No module named pip" in done.stderr:
            hint = f"this environment has no pip: `{sys.executable} -m ensurepip`"
        raise EngineFailed(
            "The packages of the bundle could not be fetched.",
            log_tail="\n".join(tail),
            hint=f"{hint}; --no-packages bundles models alone",
            retry_after_s=None,
        )


def _own_wheel(folder: Path) -> str:
    """CodeHearth's wheel from the files that run now; its version."""
    package = metadata.distribution("codehearth")
    name = f"codehearth-{package.version}"
    target = folder / f"{name}-py3-none-any.whl"
    records = io.StringIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, body in _own_files(package, name):
            digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
            records.write(f"{path},sha256={digest},{len(body)}\n")
            archive.writestr(zipfile.ZipInfo(path), body, zipfile.ZIP_DEFLATED)
        record = f"{name}.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(record), records.getvalue() + f"{record},,\n")
    return package.version


def _own_files(package: metadata.Distribution, name: str) -> Iterator[tuple[str, bytes]]:
    home = Path(str(resources.files("codehearth")))
    for path in sorted(home.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"codehearth/{path.relative_to(home).as_posix()}", path.read_bytes()
    for file in _METADATA:
        text = package.read_text(file)
        if text:
            if file == "WHEEL":
                text = text.replace("-editable", "")
            yield f"{name}.dist-info/{file}", text.encode()
    for license_file in package.files or ():
        if license_file.name == "LICENSE":
            body = Path(str(license_file.locate())).read_bytes()
            yield f"{name}.dist-info/licenses/LICENSE", body


def _requirement(wheel: Path) -> str:
    name, version = wheel.name.split("-")[:2]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name}=={version} --hash=sha256:{digest}\n"
