"""`hearth bundle` and `hearth unbundle`: from one home to another that may ask nobody."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from codehearth.cli.wheels import _own_wheel
from tests.cli.command_line import Hearth, served
from tests.models.loopback_hub import LoopbackHub
from tests.tiny_models import make_gguf

REPO = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"


def test_a_model_goes_to_a_machine_without_internet_and_answers(
    hearth: Hearth, tmp_path: Path
) -> None:
    body = make_gguf(tmp_path / "tiny.gguf").read_bytes()
    with LoopbackHub() as hub:
        hub.add(REPO, {"qwen2.5-coder-0.5b-instruct-q8_0.gguf": body})
        hearth.variables["HF_ENDPOINT"] = hub.endpoint
        assert hearth("pull", f"hf:{REPO}:q8_0").code == 0
    name = next(e["name"] for e in hearth("ls", "--json").document if e["name"] != "starter")
    packed = hearth("bundle", name, "starter", "-o", "b.tar", "--no-packages")
    there = Hearth(tmp_path / "there", {"HF_HUB_OFFLINE": "1"})
    there.home.mkdir()
    file = str(hearth.home / "b.tar")

    checked = there("unbundle", "--check", file)
    installed = there("unbundle", file)

    assert packed.code == 0
    assert packed.out.split()[1] == "b.tar"
    assert "'starter' comes with CodeHearth's packages, which are left out." in packed.err
    assert (checked.code, checked.out) == (0, f"{name}\n")
    assert (installed.code, installed.out) == (0, f"{name}\n")
    with served(there, "-m", name):
        assert there("run", "hi", "--max-tokens", "2").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("bundle", "-o", "b.tar", "--no-packages"), 2, "nothing to pack"),
        (("bundle", "startr", "-o", "b.tar"), 4, "did you mean starter"),
        (("bundle", "starter"), 2, "--output"),
        (("unbundle", "none.tar"), 4, "There is no file 'none.tar'"),
        (("unbundle", "page.html"), 1, "no tar file"),
    ],
)
def test_what_cannot_be_is_told(
    hearth: Hearth, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    (hearth.home / "page.html").write_text("<!doctype html>" + " " * 2000)

    result = hearth(*arguments)

    assert result.code == code
    assert complaint in result.err
    assert not (hearth.home / "b.tar").exists()


def test_nothing_is_replaced_unasked(hearth: Hearth) -> None:
    (hearth.home / "b.tar").write_text("mine")

    result = hearth("bundle", "starter", "-o", "b.tar")

    assert (hearth.home / "b.tar").read_text() == "mine"
    assert (result.code, result.out) == (2, "")
    assert "add --yes" in result.err


def test_a_folder_that_is_not_there_is_told_before_anything_is_fetched(hearth: Hearth) -> None:
    result = hearth("bundle", "starter", "-o", "no/where.tar")

    assert result.code == 4
    assert "There is no folder 'no'" in result.err
    assert "fetching" not in result.err


def test_the_wheel_made_of_the_installed_files_is_one(tmp_path: Path) -> None:
    """pip unpacks it and finds every file of its record; what runs from it is the program."""
    version = _own_wheel(tmp_path)
    wheel = tmp_path / f"codehearth-{version}-py3-none-any.whl"
    target = tmp_path / "site"

    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True)
    code = "import codehearth, codehearth.models.starter as m; print(m.starter().path)"
    argv = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(target)!r}); {code}"]
    found = subprocess.run(argv, check=True, capture_output=True, text=True)

    assert found.stdout.strip() == str(target / "codehearth" / "data" / "starter.gguf")
    names = zipfile.ZipFile(wheel).namelist()
    assert f"codehearth-{version}.dist-info/entry_points.txt" in names
    assert not any("__pycache__" in name for name in names)
