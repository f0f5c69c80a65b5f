"""What was answered stays, whatever came in between."""

from __future__ import annotations

from pathlib import Path

from codehearth.lab.evaluation.journal import Answered, Journal


def answered(index: int) -> Answered:
    return Answered("task", index, "answer", "code", False, "passed", "")


def test_a_line_that_was_torn_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "answers" / "journal.jsonl"
    for index in (0, 1):
        Journal(path).add(answered(index))
    path.write_bytes(path.read_bytes()[:-20])

    journal = Journal(path)
    journal.add(answered(2))
    journal.add(answered(1))

    kept = Journal(path)
    assert [kept.find("task", index) for index in range(3)] == [answered(i) for i in range(3)]
