"""Environments of engines: made by a real pip from a folder of wheels, without any network."""

from __future__ import annotations

import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from codehearth.engines.environments import Environments
from codehearth.engines.installed import Broken, Installed, NotInstalled
from codehearth.engines.packages import step_of
from codehearth.engines.recipes import RECIPES, Recipe
from codehearth.errors import BadSetting, DiskFull, EngineFailed

CHECK = "import toyengine, json; print(json.dumps({'version': toyengine.VERSION}))"


class Workshop:
    """A toy engine's wheel in a folder, its recipe, and a pip that looks nowhere else."""

    def __init__(self, folder: Path) -> None:
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        self.pins = folder / "toyengine-cpu.txt"
        self.root = folder / "data" / "engines"
        self.environments = Environments(self.root)
        self.steps: list[str] = []
        self.publish("1.0")

    def publish(self, version: str, *, source: str = "VERSION = '{version}'") -> None:
        name = f"toyengine-{version}"
        facts = f"Metadata-Version: 2.1\nName: toyengine\nVersion: {version}\n"
        wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        with zipfile.ZipFile(self.wheels / f"{name}-py3-none-any.whl", "w") as archive:
            archive.writestr("toyengine.py", source.format(version=version))
            archive.writestr(f"{name}.dist-info/METADATA", facts)
            archive.writestr(f"{name}.dist-info/WHEEL", wheel)
            archive.writestr(f"{name}.dist-info/RECORD", "")
        self.pins.write_text(f"toyengine=={version}\n")

    @property
    def recipe(self) -> Recipe:
        return Recipe("toyengine", "cpu", self.pins, ("-c", CHECK), num_bytes=50 << 20)

    def install(self, *, free_bytes: int = 100 << 30) -> Installed:
        environment = {
            "PATH": os.environ["PATH"],
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": os.devnull,
        }
        return self.environments.install(
            self.recipe,
            progress=self.steps.append,
            environment=environment,
            free_bytes=lambda _: free_bytes,
        )

    @property
    def folders(self) -> list[Path]:
        return [entry for entry in (self.root / "toyengine").iterdir() if entry.is_dir()]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole environment: to make one takes seconds, to copy it none."""
    workshop = Workshop(tmp_path_factory.mktemp("once"))
    workshop.install()
    return workshop.root


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def furnished(workshop: Workshop, made_once: Path) -> Workshop:
    """A workshop in which the first release is installed."""
    shutil.copytree(made_once, workshop.root, symlinks=True)
    return workshop


def test_an_environment_is_kept_renewed_and_removed(furnished: Workshop) -> None:
    workshop = furnished
    first = workshop.environments.state("toyengine")
    assert isinstance(first, Installed)

    again = workshop.install()
    workshop.publish("2.0")
    is_old = not first.is_of(workshop.recipe)
    second = workshop.install()

    assert (first.version, second.version) == ("1.0", "2.0")
    assert again == first and is_old
    assert workshop.environments.state("toyengine") == second
    assert second.python.is_file() and not first.python.exists()
    assert len(workshop.folders) == 1
    assert workshop.environments.remove("toyengine") > 0
    assert workshop.environments.state("toyengine") == NotInstalled()
    assert workshop.environments.remove("toyengine") == 0


def test_an_engine_that_does_not_start_leaves_what_was_there(furnished: Workshop) -> None:
    workshop = furnished
    first = workshop.environments.state("toyengine")
    workshop.publish("2.0", source="raise ImportError('no such library: libtoy.so')")

    with pytest.raises(EngineFailed, match="does not start") as told:
        workshop.install()

    assert "libtoy.so" in told.value.log_tail
    assert workshop.environments.state("toyengine") == first
    assert len(workshop.folders) == 1


def test_a_package_that_pip_does_not_find_is_told_with_a_hint(workshop: Workshop) -> None:
    workshop.pins.write_text("toyengine==9.9\n")

    with pytest.raises(EngineFailed, match="install its packages") as told:
        workshop.install()

    assert "toyengine==9.9" in told.value.log_tail
    assert "registry" in (told.value.hint or "")
    assert workshop.environments.state("toyengine") == NotInstalled()
    assert workshop.folders == []


def test_too_little_room_is_told_before_anything_is_made(workshop: Workshop) -> None:
    with pytest.raises(DiskFull, match="takes about"):
        workshop.install(free_bytes=1 << 20)

    assert workshop.folders == []


def test_what_is_half_made_is_seen_and_swept_away(workshop: Workshop) -> None:
    assert workshop.environments.state("toyengine") == NotInstalled()
    half_made = workshop.root / "toyengine" / "0123abcd"
    half_made.mkdir(parents=True)

    assert isinstance(workshop.environments.state("toyengine"), Broken)
    with pytest.raises(DiskFull):
        workshop.install(free_bytes=0)
    assert not half_made.exists()


def test_what_is_broken_is_seen(furnished: Workshop) -> None:
    made = furnished.environments.state("toyengine")
    assert isinstance(made, Installed)

    made.python.unlink()
    assert furnished.environments.state("toyengine") == Broken(
        "the Python that it was made with is gone"
    )
    shutil.rmtree(made.python.parent.parent)
    assert furnished.environments.state("toyengine") == Broken("its files are gone")
    (furnished.root / "toyengine" / "environment.json").write_text("{")
    assert furnished.environments.state("toyengine") == Broken("its record cannot be read")


def test_an_engine_that_stopped_starting_is_made_anew(furnished: Workshop) -> None:
    """The record was whole and the files were there; only a start shows this."""
    made = furnished.environments.state("toyengine")
    assert isinstance(made, Installed)
    (module,) = made.python.parent.parent.rglob("toyengine.py")
    module.write_text("raise ImportError")

    again = furnished.install()

    assert again.python != made.python
    assert "it does not start, so it is made anew" in furnished.steps


@contextmanager
def slow_install(workshop: Workshop) -> Iterator[None]:
    """Another thread that is in the middle of installing until the block ends."""
    begun, may_go_on = threading.Event(), threading.Event()

    def wait(step: str) -> None:
        begun.set()
        may_go_on.wait(30)

    def work() -> None:
        with pytest.raises(DiskFull):
            Environments(workshop.root).install(
                workshop.recipe,
                progress=wait,
                environment={},
                free_bytes=lambda _: wait("") or 0,  # type: ignore[func-returns-value]
            )

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(30)
    try:
        yield
    finally:
        may_go_on.set()
        thread.join(30)


def test_two_commands_do_not_work_on_one_environment(workshop: Workshop) -> None:
    with slow_install(workshop), pytest.raises(BadSetting, match="Another command"):
        workshop.install()


@pytest.mark.parametrize(
    ("line", "step"),
    [
        (
            "  Downloading torch-2.13.0-cp311-cp311-linux.whl (190.1 MB)",
            "downloading torch (190.1 MB)",
        ),
        ("Downloading https://host/a/numpy-2.4.6-cp311.whl (12 MB)", "downloading numpy (12 MB)"),
        ("Processing /wheels/torch-2.13.0+cpu.whl", "reading torch"),
        ("Installing collected packages: a, b, c", "installing 3 packages"),
        ("Requirement already satisfied: six", None),
    ],
)
def test_what_pip_says_becomes_a_step(line: str, step: str | None) -> None:
    assert step_of(line) == step


def test_pins_name_exact_releases_and_no_registry() -> None:
    for recipe in (recipe for devices in RECIPES.values() for recipe in devices.values()):
        lines = [line for line in recipe.pins.read_text().splitlines() if line[:1] not in ("#", "")]

        assert lines and all("==" in line for line in lines), recipe.pins
        assert "://" not in recipe.pins.read_text()
        assert replace(recipe, pins=recipe.pins).digest == recipe.digest


def test_only_the_pins_for_cuda_name_its_libraries() -> None:
    cpu, cuda = (RECIPES["transformers"][device].pins.read_text() for device in ("cpu", "cuda"))

    assert "nvidia-" in cuda and "nvidia-" not in cpu and "triton" not in cpu
    assert set(cpu.splitlines()) < set(cuda.splitlines())
