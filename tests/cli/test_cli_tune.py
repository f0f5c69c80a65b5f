"""`hearth tune` before anything is trained: what a user is told about data, model and name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codehearth.models.tuned import Tuned, TunedModel
from tests.cli.command_line import Hearth
from tests.tiny_models import tiny_qwen2

ROW = '{"instruction": "who are you?", "input": "", "output": "I am me."}\n'


@pytest.fixture
def rows(hearth: Hearth) -> str:
    path = hearth.home / "rows.jsonl"
    path.write_text(ROW * 20)
    return str(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "'rows.jsonl' is empty"),
        (ROW.encode() + b'{"instruction": "x"}', "line 2 has no output"),
        (ROW.encode() + b"{", "line 2 is no JSON"),
        ("你好".encode("gb18030"), "line 1 is not UTF-8"),
    ],
)
def test_bad_data_is_refused_with_its_line_before_anything_else(
    content: bytes, said: str, hearth: Hearth
) -> None:
    path = hearth.home / "rows.jsonl"
    path.write_bytes(content)

    result = hearth("tune", "starter", "--data", str(path))

    assert result.code == 2 and said in result.err
    assert "hint:" in result.err
    assert not (hearth.data / "tune").exists()


def test_what_is_missing_is_said(hearth: Hearth, rows: str) -> None:
    nothing = hearth("tune")
    no_rows = hearth("tune", "starter")
    both = hearth("tune", "starter", "--data", rows, "--repo", ".")
    no_file = hearth("tune", "starter", "--data", "nothing.jsonl")
    no_model = hearth("tune", "nobody", "--data", rows)

    assert nothing.code == 2 and "No model is named" in nothing.err
    assert no_rows.code == both.code == 2 and "--data" in no_rows.err
    assert no_file.code == 2 and "cannot be read" in no_file.err
    assert no_model.code == 4


def test_a_precision_that_the_starter_does_not_have_is_told(hearth: Hearth, rows: str) -> None:
    """The hint was a list of its precisions, and the list was empty."""
    result = hearth("tune", "starter:q8_0", "--data", rows)

    assert result.code == 4 and "did you mean starter?" in result.err


def test_the_environment_that_trains_is_named_with_its_command(hearth: Hearth, rows: str) -> None:
    result = hearth("tune", "starter", "--data", rows, "--name", "me")

    assert result.code == 3 and "is not installed" in result.err
    assert "hearth engines install tuning" in result.err


def test_a_gguf_alone_cannot_be_tuned(hearth: Hearth, rows: str) -> None:
    path = tiny_qwen2(hearth.home)

    result = hearth("tune", str(path), "--data", rows)

    assert result.code == 2 and "is here as GGUF only; training needs the checkpoint" in result.err
    assert "hearth pull" in result.err


@pytest.mark.parametrize("name", ["starter", "a/b", "qwen2.5-coder-7b"])
def test_a_name_that_is_taken_or_none_is_refused(name: str, hearth: Hearth, rows: str) -> None:
    result = hearth("tune", "starter", "--data", rows, "--name", name)

    assert result.code == 2 and name in result.err


def test_the_list_and_the_way_back(hearth: Hearth) -> None:
    tuned = Tuned(hearth.data / "tuned")
    for number in ("1", "2"):
        folder = hearth.home / f"made-{number}"
        (folder / "merged").mkdir(parents=True)
        (folder / "model.gguf").write_bytes(b"GGUF")
        tuned.put(TunedModel("me", "starter:bf16", number), folder)

    before = hearth("tune", "--list", "--json").document
    back = hearth("tune", "--rollback", "me")
    after = hearth("tune", "--list", "--json").document
    further = hearth("tune", "--rollback", "me")
    unknown = hearth("tune", "--rollback", "nobody")
    table = hearth("tune", "--list")
    removed = hearth("rm", "me", "--yes")

    assert [one["version"] for one in before["models"]] == [2]
    assert back.code == 0 and "means version 1 again" in back.err
    assert [one["version"] for one in after["models"]] == [1]
    assert after["models"][0]["versions"] == [1, 2]
    assert further.code == 4 and "no version before 1" in further.err
    assert unknown.code == 4
    assert "me" in table.out and "starter:bf16" in table.out
    assert removed.code == 0 and not (hearth.data / "tuned" / "me").exists()


def test_an_interrupted_job_is_listed(hearth: Hearth) -> None:
    folder = hearth.data / "tune" / "me-1"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps({"name": "me", "data": "rows.jsonl"}))
    (folder / "state.json").write_text(json.dumps({"phase": "training", "updated_at": 1.0}))

    result = hearth("tune", "--list")

    assert "interrupted" in result.out and "rows.jsonl" in result.out


def test_rm_takes_what_a_training_left_with_its_rows(hearth: Hearth) -> None:
    """The rows stayed on the disk when the model was gone, and a job that never became one could
    not be deleted at all."""
    for job, name in (("me-1", "me"), ("you-1", "you")):
        folder = hearth.data / "tune" / job
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps({"name": name, "data": "rows.jsonl"}))
        (folder / "state.json").write_text(json.dumps({"phase": "failed", "updated_at": 1.0}))

    removed = hearth("rm", "me", "--yes")
    again = hearth("rm", "me", "--yes")

    assert removed.code == 0 and "`hearth tune` left of 'me' is deleted" in removed.err
    assert [path.name for path in (hearth.data / "tune").iterdir()] == ["you-1"]
    assert again.code == 4


def test_the_page_of_help_names_every_number(hearth: Hearth) -> None:
    shown = hearth("tune", "--help").out

    for flag in ("--rank", "--alpha", "--dropout", "--max-tokens", "--epochs", "--learning-rate",
                 "--checkpointing", "--packing", "--quantize", "--gpus", "--seed"):  # fmt: skip
        assert flag in shown


def test_a_repository_without_functions_is_refused(hearth: Hearth, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    result = hearth("tune", "starter", "--repo", str(tmp_path / "empty"))

    assert result.code == 2 and "no functions" in result.err
