"""A repository's own functions as a training set."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from codehearth.errors import InvalidRequest
from codehearth.lab.tuning.examples import Chat, Code
from codehearth.lab.tuning.repository import examples_of


def function(number: int) -> str:
    return (
        f'def step_{number}(value):\n    """Do step {number} to a value."""\n'
        f"    moved = value + {number}\n    return moved * {number}\n"
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Forty files, one committed a day after another; and what must not be learnt."""
    root = tmp_path / "house"
    root.mkdir()

    def git(*words: str, day: int = 1) -> None:
        date = f"2026-01-{day:02} 12:00:00 +0000"
        subprocess.run(
            ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b", *words],
            check=True, capture_output=True,
            env={"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date, "PATH": "/usr/bin:/bin"},
        )  # fmt: skip

    git("init", "-q")
    (root / ".gitignore").write_text("secret.py\n")
    (root / "secret.py").write_text(function(999))
    (root / "vendor").mkdir()
    (root / "vendor" / "v.py").write_text(function(998))
    for number in range(38):
        (root / f"old_{number}.py").write_text(function(number))
    (root / "copy.py").write_text(function(1))
    git("add", "-A")
    git("commit", "-qm", "old")
    for number in (38, 39):
        (root / f"new_{number}.py").write_text(function(number))
    git("add", "-A", day=2)
    git("commit", "-qm", "new", day=2)
    return root


def test_bodies_are_filled_in_and_documented_functions_are_asked_for(repository: Path) -> None:
    found = examples_of(repository, seed=0)

    code = next(one for one in found.training if isinstance(one, Code))
    talk = next(one for one in found.training if isinstance(one, Chat))
    ((start, end),) = code.spans
    assert code.text[start:end].strip().startswith("moved = value + ")
    assert "Write the Python function `step_" in talk.question and "Do step" in talk.question
    assert talk.answer.startswith("```python\ndef step_") and talk.answer.endswith("\n```")


def test_the_latest_commits_files_are_held_out_whole(repository: Path) -> None:
    found = examples_of(repository, seed=0)

    def files(examples: object) -> set[str]:
        return {one.path for one in examples if isinstance(one, Code)}  # type: ignore[attr-defined]

    assert {"new_38.py", "new_39.py"} <= files(found.held_out)
    assert not files(found.held_out) & files(found.training)
    assert any("latest commits" in line for line in found.why)


def test_what_git_ignores_and_others_wrote_is_not_learnt(repository: Path) -> None:
    found = examples_of(repository, seed=0)

    everything = repr((found.training, found.held_out))
    assert "step_999" not in everything and "step_998" not in everything


def test_a_function_that_stands_twice_is_learnt_once(repository: Path) -> None:
    found = examples_of(repository, seed=0)

    everything = [one for one in (*found.training, *found.held_out) if isinstance(one, Code)]
    assert sum("def step_1(" in one.text for one in everything) == 1


def test_a_folder_without_git_is_read_too(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"m{number}.py").write_text(function(number))

    assert len(examples_of(tmp_path, seed=0).training) >= 8


@pytest.mark.parametrize("name", ["", "missing"])
def test_a_folder_without_functions_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        examples_of(tmp_path / name, seed=0)
