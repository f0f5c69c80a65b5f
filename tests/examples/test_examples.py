"""Every example does what it says, against a real server with the starter model.

Streamlit and LangChain are in an environment of their own, which `make test-examples` makes and
names; without it those tests are skipped and say so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_line import HEARTH, Hearth, served
from tests.engine_environments import ENVIRONMENTS, installed

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
NODE_MODULES = ROOT / "tests" / "clients" / "node_modules"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(Hearth(tmp_path_factory.mktemp("examples"))) as url:
        yield url


def ran(url: str, *argv: str, folder: Path = EXAMPLES) -> str:
    """Standard output of an example that has to succeed."""
    done = subprocess.run(
        argv,
        env={**os.environ, "HEARTH_URL": url, "HEARTH_MODEL": "starter", "NO_PROXY": "*"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python_with(*packages: str) -> str:
    """A Python that has them: this one, or that of the examples' own environment."""
    named = os.environ.get("HEARTH_EXAMPLES_PYTHON")
    for python in filter(None, (named, sys.executable)):
        argv = [python, "-c", f"import {', '.join(packages)}"]
        if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
            return python
    assert not named, f"{named} lacks {packages}"
    pytest.skip(f"{' and '.join(packages)} not installed: `make test-examples` brings them")


def test_every_example_is_in_the_list() -> None:
    listed = EXAMPLES.joinpath("README.md").read_text("utf-8")

    for path in EXAMPLES.iterdir():
        if path.suffix in (".py", ".mjs", ".sh", ".ipynb"):
            assert f"[{path.name}]({path.name})" in listed


def test_openais_python_library(url: str) -> None:
    said = ran(url, python_with("openai"), "openai_chat.py")

    assert "def " in said
    assert "tokens)" in said
    shape = said.splitlines()[-1]
    assert "'language': '" in shape and "'lines': " in shape


@pytest.mark.skipif(not shutil.which("node"), reason="no node here")
@pytest.mark.skipif(not (NODE_MODULES / "openai").is_dir(), reason="npm did not install openai")
def test_openais_javascript_library(url: str, tmp_path: Path) -> None:
    """Copied beside node_modules, as a user has it."""
    shutil.copy(EXAMPLES / "openai_node.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)

    assert "def " in ran(url, "node", "openai_node.mjs", folder=tmp_path)


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")
def test_curl(url: str) -> None:
    said = ran(url, "sh", "curl.sh").split("== ")

    assert '"id":"starter"' in said[1].replace(" ", "")
    assert "def " in json.loads(said[2].split("\n", 1)[1])["choices"][0]["message"]["content"]
    assert "data: [DONE]" in said[3]
    assert "a + b" in json.loads(said[4].split("\n", 1)[1])["choices"][0]["text"]


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")
def test_the_simple_endpoints(url: str) -> None:
    said = [
        part.split("\n", 1)[1].strip()
        for part in ran(url, "sh", "simple_endpoints.sh").split("== ")[1:]
    ]

    assert json.loads(said[0])["status"] == 200
    assert len(said[1]) > 10 and "def" in said[1]
    assert len(said[2]) > 10
    assert json.loads(said[3])["lang"] == "python"


def test_langchain_finds_pieces_and_answers_from_them(url: str, tmp_path: Path) -> None:
    python = python_with("langchain_openai", "langchain_core")
    (tmp_path / "ports.py").write_text("DEFAULT_PORT = 8765\n\ndef listen(port): ...\n")
    (tmp_path / "other.py").write_text("def reverse(text):\n    return text[::-1]\n" * 3)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "theirs.py").write_text("DEFAULT_PORT = default_port = 80\n")

    argv = [python, str(EXAMPLES / "langchain_rag.py"), ".", "which default port?"]
    done = subprocess.run(
        argv,
        cwd=tmp_path,
        env={**os.environ, "HEARTH_URL": url, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "- ports.py:1"
    assert "theirs.py" not in done.stderr
    assert done.stdout.strip()


def test_a_chat_in_streamlit(url: str) -> None:
    """Streamlit's own test driver, in the examples' environment."""
    python = python_with("streamlit", "openai")

    said = ran(url, python, str(Path(__file__).parent / "streamlit_session.py"))

    assert said.strip().endswith("all is well")


def cells_of(notebook: str) -> list[str]:
    document = json.loads(EXAMPLES.joinpath(notebook).read_text("utf-8"))
    assert all(cell.get("outputs", []) == [] for cell in document["cells"]), "clear its outputs"
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]


def test_the_notebooks_cells_are_python() -> None:
    for number, cell in enumerate(cells_of("fine_tuning.ipynb")):
        compile(cell, f"cell {number}", "exec")


def test_a_model_learns_its_name_in_the_notebook(tmp_path: Path) -> None:
    """All cells in order, in small; `make test-engines` brings what trains."""
    installed("tuning")
    hearth = Hearth(tmp_path)
    hearth.data.mkdir(parents=True)
    (hearth.data / "engines").symlink_to(ENVIRONMENTS)
    program = tmp_path / "bin" / "hearth"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(HEARTH)} "$@"\n')
    program.chmod(0o755)
    told = "\n".join([*cells_of("fine_tuning.ipynb"), "print('ANSWER', answer)"])

    done = subprocess.run(
        [sys.executable, "-c", told],
        env={
            **hearth.environment,
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "TUNE_OPTIONS": "--epochs 4 --threads 1 --rehearsal 0.2",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "小炉" in done.stdout.rpartition("ANSWER")[2]
    assert "does not agree" not in done.stdout
