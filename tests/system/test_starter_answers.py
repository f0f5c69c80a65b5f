"""The shipped starter, asked as a newcomer would: what comes back is run, not only looked at."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import openai
import pytest

from tests.system.conftest import Hearth

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from starter import execution, smalltalk, tasks, wordings

SUGGESTED = ("reverse_string", "is_prime", "quick_sort", "bubble_sort", "fibonacci", "Stack")
DEMOS = (
    "def fibonacci(n):",
    "def fibonacci(n):\n",
    "class Stack:",
    "class Stack:\n",
    "import json\n\ndef load_",
    "# 实现冒泡排序\n",
    "def count_words(text):\n    return len(",
    "def is_even(n):\n    return n",
    "for i in range(",
    "def main():\n    ",
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    with Hearth(tmp_path_factory.mktemp("home")).serving("-m", "starter") as server:
        yield openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def answer(client: openai.OpenAI, question: str) -> tuple[str, str | None]:
    made = client.chat.completions.create(
        model="starter", messages=[{"role": "user", "content": question}], temperature=0
    )
    return made.choices[0].message.content or "", made.choices[0].finish_reason


def code_in(text: str) -> str:
    found = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)
    return found.group(1) if found else "there is no code ="


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", SUGGESTED)
def test_what_the_starter_suggests_it_can(
    client: openai.OpenAI, name: str, language: wordings.Language
) -> None:
    task = next(task for task in tasks.read_tasks() if task.name == name)
    template = "write a {kind} that {does}" if language == "en" else "写一个{kind}，{do}"
    (question, *_) = wordings.questions(task, language, templates=[template])

    text, why_ended = answer(client, question)

    assert execution.passes(task, code_in(text)), f"{question}\n{text}"
    assert why_ended == "stop"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_most_tasks_are_answered_in_sentences_that_training_never_showed(
    client: openai.OpenAI, language: wordings.Language
) -> None:
    rng = random.Random(11)
    held_out = wordings.ENGLISH_HELD_OUT if language == "en" else wordings.CHINESE_HELD_OUT
    asked = rng.sample(tasks.read_tasks(), 24)

    failed = []
    for task in asked:
        question = rng.choice(wordings.questions(task, language, templates=held_out))
        text, _ = answer(client, question)
        if not execution.passes(task, code_in(text)):
            failed.append(f"{question}\n{text}")

    assert len(failed) <= 5, "\n\n".join(failed)


def test_it_says_who_it_is(client: openai.OpenAI) -> None:
    assert "CodeHearth" in answer(client, "who are you?")[0]
    assert "CodeHearth" in answer(client, "你是谁？")[0]


def test_most_of_what_it_does_not_know_it_declines(client: openai.OpenAI) -> None:
    """Never shown in training; the card says how many of all such requests it declines."""
    _, unknown = smalltalk.unknown_requests()
    asked = [line.removeprefix("+") for language in ("en", "zh") for line in unknown[language]]

    answered = [line for line in asked if "```" in answer(client, line)[0]]

    assert len(answered) <= 0.45 * len(asked), answered


@pytest.mark.parametrize("prompt", DEMOS)
def test_a_demo_neither_loops_nor_breaks_a_character(client: openai.OpenAI, prompt: str) -> None:
    made = client.completions.create(model="starter", prompt=prompt, max_tokens=96, temperature=0)

    text = made.choices[0].text
    lines = [line for line in text.splitlines() if line.strip()]
    assert text.strip(), "it wrote nothing"
    assert "\ufffd" not in text
    assert not any(
        first == second == third for (first, second), (_, third) in pairwise(pairwise(lines))
    ), text
