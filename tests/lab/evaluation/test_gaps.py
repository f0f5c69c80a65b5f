"""Gaps are taken from code only, and nearness is told rightly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.errors import InvalidRequest, NotFound
from codehearth.lab.evaluation.infilling import edit_similarity, fim_suite, is_exact
from codehearth.lab.evaluation.tasks import Gap


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    code = "import os\n\n\ndef folder_of(path):\n    return os.path.dirname(path)\n"
    for name in ("one.py", "sub/two.py", ".hidden/three.py", "node_modules/four.js", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    (tmp_path / "broken.py").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "link.py").symlink_to(tmp_path / "one.py")
    return tmp_path


def test_every_gap_fits_back_into_its_file(folder: Path) -> None:
    suite = fim_suite(folder, seed=1)

    assert {gap.name.partition(":")[0] for gap in suite.items} == {"one.py", "sub/two.py"}
    for gap in suite.items:
        assert isinstance(gap, Gap)
        whole = (folder / gap.name.partition(":")[0]).read_text()
        assert gap.prefix + gap.middle + gap.suffix == whole
        assert gap.middle.strip() and gap.language == "Python"


def test_the_seed_decides(folder: Path) -> None:
    assert fim_suite(folder, seed=1).sha256 == fim_suite(folder, seed=1).sha256


def test_a_folder_without_code_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="No code was found"):
        fim_suite(tmp_path)
    with pytest.raises(NotFound, match="no folder"):
        fim_suite(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("answer", "middle", "exact", "similarity"),
    [
        ("return a", "return a", True, 1.0),
        ("  return a  \nmore", "return a", True, 1.0),
        ("return b", "return a", False, 0.875),
        ("", "abc", False, 0.0),
        ("kitten", "sitting", False, 1 - 3 / 7),
    ],
)
def test_nearness(answer: str, middle: str, exact: bool, similarity: float) -> None:
    assert is_exact(answer, middle) is exact
    assert edit_similarity(answer, middle) == pytest.approx(similarity)


@given(st.text("abc ", max_size=12), st.text("abc ", max_size=12))
def test_similarity_is_symmetric_and_one_only_for_the_same(one: str, other: str) -> None:
    value = edit_similarity(one, other)

    assert 0 <= value <= 1
    assert value == pytest.approx(edit_similarity(other, one))
    assert (value == 1) == (one.strip() == other.strip())
