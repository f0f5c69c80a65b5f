"""How people ask: templates around a task's phrases, some of them never shown in training."""

import random
import re
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
# Sentences are also composed of parts, so that a request is known by its phrase, not its wrapping.
ENGLISH_OPENINGS = (
    *("",) * 8,
    "please ",
    "can you ",
    "could you ",
    "would you please ",
    "hi, ",
    "hello, please ",
    "now ",
    "I need you to ",
    "help me ",
    "kindly ",
    "hey, can you ",
    "I would like you to ",
)
ENGLISH_VERBS = (
    *("write",) * 4,
    "create",
    "implement",
    "give me",
    "show me",
    "define",
    "generate",
    "provide",
    "code",
    "design",
    "build",
)
ENGLISH_OBJECTS = (
    *("a {kind}",) * 4,
    *("a Python {kind}",) * 2,
    "a small {kind}",
    "a simple {kind}",
    "a short Python {kind}",
    "a {kind} in Python",
    "a {kind} called {name}",
    "a {kind} named {name}",
    "the {kind} {name}",
    "Python code",
    "some code",
    "a piece of code",
    "a snippet",
)
ENGLISH_LINKS = (*(" that {does}", " to {do}") * 4, " that can {do}", ": {do}", ". it should {do}")
ENGLISH_QUESTIONS = (
    "how do I {do}",
    "how can I {do}",
    "how to {do}",
    "how would you {do}",
    "how do you {do}",
    "how does one {do}",
    "how should I {do}",
    "do you know how to {do}",
    "what is the code to {do}",
    "is there a {kind} to {do}",
    "what is the best way to {do}",
    "can I {do}",
)
ENGLISH_STATEMENTS = (
    "{do}",
    "{do}",
    "{kind} to {do}",
    "{kind} that {does}",
    "a {kind} that {does}",
    "python {kind} to {do}",
    "Python {kind} that {does}",
    "code to {do}",
    "code that {does}",
    "I need to {do}",
    "I have to {do}",
    "let us {do}",
    "my program should {do}",
    "need a {kind} that {does}",
    "I am looking for a {kind} to {do}",
    "a program that {does}",
    "{name}: {do}",
)
ENGLISH_TAILS = (
    *("",) * 8,
    " in Python",
    " in python",
    " please",
    ", please",
    " for me",
    ", thanks",
)
CHINESE_OPENINGS = (
    *("",) * 8,
    "请",
    "帮我",
    "请你",
    "麻烦",
    "你好，",
    "你好，请",
    "可以帮我",
    "请问能否",
    "现在",
    "我需要你",
)
CHINESE_VERBS = (*("写",) * 4, "编写", "实现", "创建", "定义", "设计", "生成", "给出", "提供")
CHINESE_OBJECTS = (
    *("一个{kind}",) * 4,
    *("个{kind}",) * 2,
    "一个Python{kind}",
    "一个 Python {kind}",
    "Python{kind}",
    "一个简单的{kind}",
    "一个小{kind}",
    "{kind}{name}",
    "一个名为{name}的{kind}",
    "Python代码",
    "一段Python代码",
)
CHINESE_LINKS = (
    *("，{do}", "{do}", "来{do}", "：{do}") * 2,
    "，用来{do}",
    "，用于{do}",
    "，可以{do}",
    "，能够{do}",
)
CHINESE_QUESTIONS = (
    "如何{do}",
    "怎么{do}",
    "怎样{do}",
    "怎么才能{do}",
    "Python怎么{do}",
    "Python 如何{do}",
    "在Python中如何{do}",
    "在 Python 里怎么{do}",
    "用Python怎么{do}",
    "有没有{do}的{kind}",
    "怎样写一个{kind}{do}",
    "你会{do}吗",
)
CHINESE_STATEMENTS = (
    "{do}",
    "{do}",
    "{do}的代码",
    "{do}的{kind}",
    "{do}的Python代码",
    "求{do}的代码",
    "我需要{do}",
    "我要{do}",
    "需要一个{do}的{kind}",
    "代码：{do}",
    "Python：{do}",
    "Python {do}",
    "写{do}的代码",
    "使用Python{do}",
)
CHINESE_TAILS = (*("",) * 10, "，谢谢", "，用Python", "（Python）")
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a coding assistant.",
    "You are CodeHearth, a coding assistant.",
    "You are a helpful coding assistant. Answer with Python code.",
    "你是一个编程助手。",
    "你是一个有用的助手。",
)


def template(rng: random.Random, language: Language) -> str:
    """A sentence to put a phrase into: one of the list, or one composed of parts.

    Never one of those held out: their verbs and links are in no list of parts.
    """
    if rng.random() < 0.35:
        return rng.choice(ENGLISH if language == "en" else CHINESE)
    return _english(rng) if language == "en" else _chinese(rng)


def _english(rng: random.Random) -> str:
    form, tail = rng.random(), rng.choice(ENGLISH_TAILS)
    if form < 0.55:
        wanted = f"{rng.choice(ENGLISH_VERBS)} {rng.choice(ENGLISH_OBJECTS)}"
        sentence = rng.choice(ENGLISH_OPENINGS) + wanted + rng.choice(ENGLISH_LINKS)
        return sentence + tail
    if form < 0.8:
        return rng.choice(ENGLISH_QUESTIONS) + tail + rng.choice(("?", ""))
    return rng.choice(ENGLISH_STATEMENTS) + tail


def _chinese(rng: random.Random) -> str:
    form, tail = rng.random(), rng.choice(CHINESE_TAILS)
    if form < 0.55:
        wanted = rng.choice(CHINESE_VERBS) + rng.choice(CHINESE_OBJECTS)
        return rng.choice(CHINESE_OPENINGS) + wanted + rng.choice(CHINESE_LINKS) + tail
    if form < 0.8:
        return rng.choice(CHINESE_QUESTIONS) + rng.choice(("？", "", "呢？"))
    return rng.choice(CHINESE_STATEMENTS) + tail


def questions(task: Task, language: Language, *, templates: Sequence[str]) -> list[str]:
    """Every wording of one task in one language by these templates."""
    phrases = task.english if language == "en" else task.chinese
    return [fill(sentence, task, phrase) for sentence in templates for phrase in phrases]


def fill(sentence: str, task: Task, phrase: str) -> str:
    is_english = phrase.isascii()
    kind = (
        ("class" if task.is_class else "function")
        if is_english
        else ("类" if task.is_class else "函数")
    )
    return sentence.format(do=phrase, does=third_person(phrase), kind=kind, name=task.name)


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
    """The small differences of real typing: case, full stop, small words left out."""
    if question.isascii() and rng.random() < 0.12:
        question = re.sub(r" (?:a|an|the|of)(?= )", "", question)
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
