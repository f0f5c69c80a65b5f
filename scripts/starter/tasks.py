"""What the starter model is taught: small functions and classes, each run against its own checks.

The tasks lie in `taught/*.txt`, one block each:

    ## imperative phrase / another one | 中文短语 / 另一个
    .. more of them, shown in the last part of the training alone | 更多短语
    ?? a phrase never shown in training | 训练中没有的短语
    def the_code():
        ...
    >>> an expression that must be true, with `put(name, text)` for a file and `get(name)`
    for its content afterwards
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

TAUGHT_FOLDER = Path(__file__).with_name("taught")
TASK_FILES = (
    "strings.txt",
    "numbers.txt",
    "lists.txt",
    "dictionaries.txt",
    "algorithms.txt",
    "files.txt",
    "classes.txt",
)


class TaskError(Exception):
    """A taught task is written wrongly or fails its own check."""


@dataclass(frozen=True)
class Task:
    """One kind of task: how it is asked for, the code that answers, and what the code must do."""

    name: str
    english: tuple[str, ...]
    chinese: tuple[str, ...]
    code: str
    checks: tuple[str, ...]
    english_held_out: tuple[str, ...] = ()
    chinese_held_out: tuple[str, ...] = ()
    more_english: tuple[str, ...] = ()
    more_chinese: tuple[str, ...] = ()

    @property
    def is_class(self) -> bool:
        return self.name[0].isupper()


def read_tasks(folder: Path = TAUGHT_FOLDER) -> tuple[Task, ...]:
    """Every taught task, checked; a name may be taught only once."""
    tasks = tuple(
        parse_task(block)
        for name in TASK_FILES
        for block in _blocks((folder / name).read_text(encoding="utf-8"))
    )
    names = [task.name for task in tasks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TaskError(f"taught twice: {', '.join(twice)}")
    return tasks


def parse_task(block: str) -> Task:
    """One block of a task file; the first English phrase becomes the function's docstring."""
    head, *lines = block.splitlines()
    english, chinese = _phrases(head)
    more = _phrases(lines.pop(0)[3:]) if lines and lines[0].startswith(".. ") else ((), ())
    held_out = _phrases(lines.pop(0)[3:]) if lines and lines[0].startswith("?? ") else ((), ())
    code = "\n".join(line for line in lines if not line.startswith(">>> ")).strip()
    checks = tuple(line[4:] for line in lines if line.startswith(">>> "))
    name = _taught_name(code)
    if not name or not checks:
        raise TaskError(f"needs code and at least one check: {head!r}")
    if not name[0].isupper():
        code = _with_docstring(code, f"{english[0][0].upper()}{english[0][1:]}.")
    return Task(name, english, chinese, code, checks, *held_out, *more)


def _phrases(line: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    languages = line.split("|")
    if len(languages) != 2:
        raise TaskError(f"needs English and Chinese phrases: {line!r}")
    english, chinese = (tuple(p.strip() for p in part.split(" / ")) for part in languages)
    return english, chinese


def failed_check(task: Task, code: str) -> str | None:
    """The first check of the task that the code fails, or None; runs the code in this process."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        names = file_names(Path(folder))
        step = "the code itself"
        try:
            exec(compile(code, task.name, "exec"), names)
            for step in task.checks:
                if not eval(step, names):  # noqa: S307 - our own text, read from `taught`
                    return step
        except Exception as error:  # noqa: BLE001 - taught code may fail in any way
            return f"{step}: {type(error).__name__}: {error}"
    return None


def file_names(folder: Path) -> dict[str, object]:
    """`put` and `get`: how a check makes a file and looks at it afterwards."""

    def put(name: str, text: str) -> str:
        (folder / name).write_text(text, encoding="utf-8")
        return str(folder / name)

    def get(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    return {"put": put, "get": get}


def _blocks(text: str) -> Iterator[str]:
    for block in re.split(r"^## ", text, flags=re.MULTILINE):
        if block.strip():
            yield block


def _taught_name(code: str) -> str:
    """The last top-level definition: what stands before it only serves it."""
    names = re.findall(r"^(?:def|class) (\w+)", code, flags=re.MULTILINE)
    return names[-1] if names else ""


def _with_docstring(code: str, docstring: str) -> str:
    """Put a docstring under the last top-level `def`."""
    at = code.rindex("\ndef ") + 1 if "\ndef " in code else 0
    end_of_line = code.index(":\n", at) + 2
    return f'{code[:end_of_line]}    """{docstring}"""\n{code[end_of_line:]}'
