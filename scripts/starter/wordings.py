"""How people ask: templates around a task's phrases, some of them never shown in training."""

import random
from collections.abc import Sequence
from typing import Literal

from .tasks import Task

Language = Literal["en", "zh"]

# {do}: "reverse a string"; {does}: "reverses a string"; {kind}: function or class
ENGLISH = (
    "write a {kind} that {does}",
    "write a {kind} to {do}",
    "write a Python {kind} that {does}",
    "write a Python {kind} to {do}",
    "please write a {kind} that {does}",
    "how do I {do} in Python?",
    "how can I {do}?",
    "I need a {kind} that {does}",
    "give me a {kind} to {do}",
    "can you write a {kind} that {does}?",
    "{do}",
    "{do} in Python",
    "Python code to {do}",
    "implement a {kind} that {does}",
    "create a {kind} to {do}",
    "write {name}, a {kind} that {does}",
    "show me how to {do}",
    "write code that {does}",
    "help me write a {kind} to {do}",
)
ENGLISH_HELD_OUT = (
    "could you write me a {kind} that {does}?",
    "I want to {do} with Python",
    "make a {kind} which {does}",
    "what is a good way to {do} in Python?",
)
CHINESE = (
    "写一个{kind}，{do}",
    "写一个{kind}：{do}",
    "写个{kind}{do}",
    "请写一个{kind}，{do}",
    "请用Python写一个{kind}，{do}",
    "用Python写一个{kind}，{do}",
    "用 Python {do}",
    "用Python{do}",
    "帮我写一个{kind}，{do}",
    "如何用Python{do}？",
    "怎么{do}？",
    "怎样用 Python {do}？",
    "编写一个{kind}，{do}",
    "{do}",
    "我需要一个{kind}，{do}",
    "请{do}",
    "给我一段{do}的代码",
    "写一个{do}的{kind}",
)
CHINESE_HELD_OUT = (
    "能不能帮我写个{kind}，{do}？",
    "我想用Python{do}",
    "请帮我用Python{do}",
    "写一段代码，{do}",
)
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a coding assistant.",
    "You are CodeHearth, a coding assistant.",
    "You are a helpful coding assistant. Answer with Python code.",
    "你是一个编程助手。",
    "你是一个有用的助手。",
)


def questions(task: Task, language: Language, *, templates: Sequence[str]) -> list[str]:
    """Every wording of one task in one language by these templates."""
    phrases = task.english if language == "en" else task.chinese
    return [fill(template, task, phrase) for template in templates for phrase in phrases]


def fill(template: str, task: Task, phrase: str) -> str:
    is_english = phrase.isascii()
    kind = (
        ("class" if task.is_class else "function")
        if is_english
        else ("类" if task.is_class else "函数")
    )
    return template.format(do=phrase, does=third_person(phrase), kind=kind, name=task.name)


def third_person(phrase: str) -> str:
    """reverse a string -> reverses a string; only the first word bends."""
    verb, _, rest = phrase.partition(" ")
    if verb.endswith(("s", "sh", "ch", "x", "z")):
        verb += "es"
    elif verb.endswith("y") and verb[-2] not in "aeiou":
        verb = verb[:-1] + "ies"
    else:
        verb += "s"
    return f"{verb} {rest}".strip()


def vary(rng: random.Random, question: str) -> str:
    """The small differences of real typing: case, full stop, a greeting or thanks."""
    if rng.random() < 0.4:
        question = question[0].upper() + question[1:]
    if question[-1] in "!！":
        return question
    if question[-1] in "?？":
        return question[:-1] if rng.random() < 0.2 else question
    if rng.random() < 0.35:
        question += "." if question.isascii() else "。"
    return question


def answer(task: Task, language: Language) -> str:
    """A sentence that names the task, then the code in a fenced block; the same each time."""
    kind = "class" if task.is_class else "function"
    if language == "en":
        lead = f"Here is a {kind} that {third_person(task.english[0])}:"
    else:
        lead = f"下面的{'类' if task.is_class else '函数'}{task.chinese[0]}："
    return f"{lead}\n\n```python\n{task.code}\n```"
