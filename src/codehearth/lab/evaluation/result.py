"""An evaluation as data: what `hearth evaluate` writes and others read. docs/evaluate.md explains.

Every answer stays in the journal beside it; here are counts, intervals and one failure a task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codehearth.errors import InvalidRequest, NotFound
from codehearth.lab.evaluation.asking import Sampling
from codehearth.lab.evaluation.estimator import PassAt
from codehearth.lab.evaluation.tasks import Mode
from codehearth.lab.judging.verdict import Group
from codehearth.lab.result import Files, Interval

SCHEMA = 1
_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Failure:
    """The first answer to a task that failed, for a look."""

    group: Group
    detail: str


@dataclass(frozen=True)
class TaskScore:
    """`num_together`: answers that passed in one process with their tests (see judging)."""

    task: str
    language: str
    num_answers: int
    num_passed: int
    groups: dict[str, int]
    failure: Failure | None = None
    num_cut: int = 0
    num_together: int = 0
    similarity: float | None = None


@dataclass(frozen=True)
class ModelScore:
    """`pass_at` over all tasks; for gaps, "passed" is an exact match, beside the similarity."""

    model: str
    precision: str | None
    mode: Mode
    pass_at: tuple[PassAt, ...]
    tasks: tuple[TaskScore, ...]
    similarity: Interval | None = None
    duration_s: float = 0.0

    def at(self, k: int) -> PassAt | None:
        return next((one for one in self.pass_at if one.k == k), None)

    @property
    def groups(self) -> dict[str, int]:
        """All answers by what came of them, the most frequent first."""
        total: dict[str, int] = {}
        for task in self.tasks:
            for group, count in task.groups.items():
                total[group] = total.get(group, 0) + count
        return dict(sorted(total.items(), key=lambda pair: -pair[1]))


@dataclass(frozen=True)
class SuiteFacts:
    name: str
    title: str
    sha256: str
    num_tasks: int
    is_fim: bool
    left_out: dict[str, str]


def figure_name(k: int, *, is_fim: bool) -> str:
    """What the share of answers that passed is called."""
    if is_fim:
        return "exact match" if k == 1 else f"exact match@{k}"
    return f"pass@{k}"


@dataclass(frozen=True)
class Evaluation:
    id: str
    created_at: str
    command: tuple[str, ...]
    duration_s: float
    versions: dict[str, str]
    suite: SuiteFacts
    sampling: Sampling
    num_answers: int
    protection: str
    time_limit_s: float
    models: tuple[ModelScore, ...]
    files: Files | None = None
    kind: str = "evaluation"
    schema: int = SCHEMA

    def as_document(self) -> dict[str, Any]:
        document = asdict(self)
        return {"kind": document.pop("kind"), "schema": document.pop("schema"), **document}

    def score(self, model: str) -> ModelScore | None:
        return next((one for one in self.models if one.model == model), None)


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation in a JSON file; raises NotFound and InvalidRequest."""
    from pydantic import TypeAdapter, ValidationError

    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidRequest(f"'{path.name}' is too large for an evaluation.")
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no evaluation '{path}'.", hint="`hearth evaluate MODEL` makes one"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"'{path.name}' cannot be read as JSON.") from error
    is_ours = isinstance(document, Mapping) and document.get("kind") == "evaluation"
    if not is_ours or document.get("schema") != SCHEMA:
        raise InvalidRequest(f"'{path.name}' is no evaluation that can be read here.")
    try:
        return TypeAdapter(Evaluation).validate_python(document)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InvalidRequest(
            f"'{path.name}' is no evaluation: '{place}' is not as it should be."
        ) from error
