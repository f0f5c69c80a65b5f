"""The trainer's command line and its errors as the house tells them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from codehearth.errors import (
    BadWeights,
    DiskFull,
    EngineFailed,
    EngineMissing,
    HearthError,
    InvalidRequest,
    OutOfMemory,
    Unsupported,
)
from codehearth.lab.tuning.trainer import command, error_of, installed, lines

PYTHON = Path("/env/bin/python")


def test_one_process_trains_on_a_cpu_and_on_one_gpu() -> None:
    for num_gpus in (0, 1):
        argv = command(PYTHON, Path("job.json"), num_gpus=num_gpus)
        assert argv[0] == str(PYTHON) and "accelerate.commands.launch" not in argv
        assert argv[-3].endswith("workers/start.py") and argv[-2:] == ("tuning", "job.json")


def test_several_gpus_have_a_process_each_through_accelerate() -> None:
    argv = command(PYTHON, Path("job.json"), num_gpus=3)

    assert argv[2:4] == ("-m", "accelerate.commands.launch")
    assert argv[argv.index("--num_processes") + 1] == "3" and "--multi_gpu" in argv
    assert argv[-3].endswith("workers/start.py") and argv[-2:] == ("tuning", "job.json")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("InvalidRequest", InvalidRequest),
        ("Unsupported", Unsupported),
        ("BadWeights", BadWeights),
        ("DiskFull", DiskFull),
        ("OutOfMemory", OutOfMemory),
        ("EngineFailed", EngineFailed),
        ("NoSuchError", HearthError),
        ("ClassVar", HearthError),
    ],
)
def test_what_the_trainer_refuses_is_an_error_of_the_house(
    kind: str, expected: type[HearthError]
) -> None:
    found = error_of({"kind": kind, "message": "all rows are too long"})

    assert type(found) is expected and found.message == "all rows are too long"


def test_a_trainer_that_is_not_installed_is_named_with_its_command(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match="is not installed") as caught:
        installed(tmp_path)

    assert "hearth engines install tuning" in str(caught.value.hint)


def heard(code: str, folder: Path) -> list[Mapping[str, Any]]:
    return list(lines([sys.executable, "-c", code], folder / "log"))


def test_lines_are_heard_and_what_libraries_print_is_kept(tmp_path: Path) -> None:
    code = "import sys; print('{\"stage\": \"reading\"}'); print('noise', file=sys.stderr)"

    assert heard(code, tmp_path) == [{"stage": "reading"}]
    assert (tmp_path / "log").read_text() == "noise\n"


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        ("raise SystemExit(9)", EngineFailed, "the trainer exited with code 9"),
        ("import os; os.kill(os.getpid(), 9)", EngineFailed, "was killed by SIGKILL"),
        (
            "import sys; print('CUDA out of memory', file=sys.stderr); sys.exit(1)",
            OutOfMemory, "ran out of memory",
        ),
        (
            f"print({json.dumps(json.dumps({'error': {'kind': 'DiskFull', 'message': 'full'}}))})",
            DiskFull, "full",
        ),
    ],
)  # fmt: skip
def test_a_trainer_that_dies_says_why(
    code: str, error: type[HearthError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        heard(code, tmp_path)

    assert said in caught.value.message


def test_a_trainer_that_was_told_to_stop_is_no_failure(tmp_path: Path) -> None:
    assert heard("print('{\"stopped\": true}'); raise SystemExit(75)", tmp_path) == [
        {"stopped": True}
    ]
