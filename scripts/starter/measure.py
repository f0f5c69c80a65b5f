"""The card's figures, from the shipped file alone: each is a function of the weights and a seed.

Text comes from llama.cpp, bits per byte from torch on the same weights.
"""

import math
import platform
import random
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from . import export, humaneval, smalltalk, wordings
from . import tokenizer as vocabulary
from .bodies import block, has_left, is_beginning, parses
from .corpus import HELD_OUT_PACKAGES, Corpus, SourceFile
from .engine import Completion, Engine
from .execution import passes
from .generation import chat_prompt, infill_prompt
from .infilling import ORDERS, Asker, hidden_lines
from .network import Network, num_parameters
from .tasks import Task, read_tasks
from .teaching import unknown_question
from .windows import Turn
from .wordings import Language

SEED = 7
WINDOW = 512
STRIDE = 256
MAX_SCORED_CHARACTERS = 12_000  # of each file, from its beginning
MAX_ANSWER_TOKENS = 320
MAX_BODY_TOKENS = 64
NUM_BODIES = 128
NUM_TAUGHT_LINES = 128
NUM_LIBRARY_LINES = 256
NUM_SAMPLED_TASKS = 16
NUM_SAMPLES = 10
SAMPLING_TEMPERATURE = 0.8

DEMO_PROMPTS: tuple[tuple[str, str], ...] = (
    ("chat", "write a function that reverses a string"),
    ("chat", "写一个函数，判断一个数是不是质数"),
    ("chat", "你是谁？"),
    ("chat", "which mountain is the highest?"),
    ("completion", "def fibonacci(n):"),
    ("completion", "class Stack:\n"),
    ("completion", "import json\n\ndef load_"),
    ("completion", "# 实现冒泡排序\n"),
    ("completion", "def count_words(text):\n    return len("),
    ("infill", "def average(numbers):\n    total = <fill>\n    return total / len(numbers)\n"),
)


def measure(path: Path, corpus: Corpus) -> dict[str, Any]:
    """Every figure, with the failures and the samples behind it."""
    engine = Engine(path)
    network, tokenizer = export.read_gguf(path)
    tasks = read_tasks()
    held_out = [file for file in corpus.held_out if file.package == "python"]
    packages = [file for file in corpus.held_out if file.package in HELD_OUT_PACKAGES]
    answers = list(taught_answers(engine, tasks))
    paraphrased = list(paraphrased_answers(engine, tasks))
    seldom = list(seldom_answers(engine, tasks))
    refusals = list(unknown_answers(engine))
    taught_files = [SourceFile("taught", t.name, "teaching", t.code + "\n") for t in tasks]
    asker = Asker(path)
    hidden = {
        source: {
            order: list(hidden_lines(engine, asker, files, order, count, SEED)) for order in ORDERS
        }
        for source, files, count in (
            ("taught", taught_files, NUM_TAUGHT_LINES),
            ("standard_library", held_out, NUM_LIBRARY_LINES),
            ("held_out_packages", packages, NUM_LIBRARY_LINES),
        )
    }
    bodies = list(function_bodies(engine, held_out))
    sampled = list(sampled_passes(engine, tasks))
    samples = [demo(engine, kind, prompt) for kind, prompt in DEMO_PROMPTS]
    return {
        "summary": {
            "parameters": num_parameters(network),
            "file_bytes": path.stat().st_size,
            "bits_per_byte_standard_library": bits_per_byte(network, tokenizer, held_out),
            "bits_per_byte_held_out_packages": bits_per_byte(network, tokenizer, packages),
            "taught_tasks": len(tasks),
            "taught_pass_english": share(a["passed"] for a in answers if a["language"] == "en"),
            "taught_pass_chinese": share(a["passed"] for a in answers if a["language"] == "zh"),
            "paraphrased_pass_english": share(
                a["passed"] for a in paraphrased if a["language"] == "en"
            ),
            "paraphrased_pass_chinese": share(
                a["passed"] for a in paraphrased if a["language"] == "zh"
            ),
            "seldom_pass_english": share(a["passed"] for a in seldom if a["language"] == "en"),
            "seldom_pass_chinese": share(a["passed"] for a in seldom if a["language"] == "zh"),
            "taught_stopped_by_itself": share(a["stopped"] for a in answers),
            "unknown_declined": share(r["declined"] for r in refusals),
            "bodies_that_parse": share(b["parses"] for b in bodies),
            "hidden_lines": {
                source: {
                    order: {
                        "exact": share(line["exact"] for line in lines),
                        "similarity": mean(line["similarity"] for line in lines),
                    }
                    for order, lines in by_order.items()
                }
                for source, by_order in hidden.items()
            },
            "pass_at_1": mean(pass_at(NUM_SAMPLES, c, 1) for c in sampled),
            "pass_at_10": mean(pass_at(NUM_SAMPLES, c, 10) for c in sampled),
            **humaneval_figures(engine),
            "tokens_per_s": mean(answer["tokens_per_s"] for answer in answers),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} thread",
        },
        "samples": samples,
        "hidden_lines": hidden,
        "bodies_that_do_not_parse": [b["text"] for b in bodies if not b["parses"]],
        "failed": [answer for answer in answers if not answer["passed"]],
        "failed_seldom": [answer for answer in seldom if not answer["passed"]],
        "failed_paraphrased": [answer for answer in paraphrased if not answer["passed"]],
        "not_declined": [refusal for refusal in refusals if not refusal["declined"]],
    }


@torch.inference_mode()
def bits_per_byte(network: Network, tokenizer: Tokenizer, files: list[SourceFile]) -> float:
    """Mean surprise over the beginnings of files; a token sees STRIDE tokens or more, if any.

    A file's first token is not counted: nothing stands before it.
    """
    bits = 0.0
    num_bytes = 0
    for file in files:
        ids = vocabulary.encode(tokenizer, file.text[:MAX_SCORED_CHARACTERS])
        num_bytes += len(vocabulary.decode(tokenizer, ids[1:]).encode())
        scored = 1
        for start in range(0, len(ids), STRIDE):
            window = ids[start : start + WINDOW]
            first = scored - start
            if first >= len(window):
                break
            logits = network(torch.tensor([window]))[0, first - 1 : -1]
            targets = torch.tensor(window[first:])
            bits += float(functional.cross_entropy(logits, targets, reduction="sum")) / math.log(2)
            scored = start + len(window)
    return bits / num_bytes


def taught_answers(engine: Engine, tasks: tuple[Task, ...]) -> Iterator[dict[str, Any]]:
    """Each task asked once a language in a wording never shown in training; the answer is run."""
    rng = random.Random(SEED)
    held_out: tuple[tuple[Language, tuple[str, ...]], ...] = (
        ("en", wordings.ENGLISH_HELD_OUT),
        ("zh", wordings.CHINESE_HELD_OUT),
    )
    for task in tasks:
        for language, templates in held_out:
            question = rng.choice(wordings.questions(task, language, templates=templates))
            yield _taught_answer(engine, task, language, question)


def seldom_answers(engine: Engine, tasks: tuple[Task, ...]) -> Iterator[dict[str, Any]]:
    """Each task asked once a language by a phrase that only the end of the training showed, in a
    wording never shown."""
    rng = random.Random(SEED)
    for task in tasks:
        for phrases, sentences, language in (
            (task.more_english, wordings.ENGLISH_HELD_OUT, "en"),
            (task.more_chinese, wordings.CHINESE_HELD_OUT, "zh"),
        ):
            question = wordings.fill(rng.choice(sentences), task, rng.choice(phrases))
            yield _taught_answer(engine, task, language, question)


def paraphrased_answers(engine: Engine, tasks: tuple[Task, ...]) -> Iterator[dict[str, Any]]:
    """Each task asked by a phrase that training never showed, in a sentence that it did show."""
    rng = random.Random(SEED)
    for task in tasks:
        for phrase in (*task.english_held_out, *task.chinese_held_out):
            language: Language = "en" if phrase.isascii() else "zh"
            sentences = wordings.ENGLISH if language == "en" else wordings.CHINESE
            question = wordings.fill(rng.choice(sentences), task, phrase)
            yield _taught_answer(engine, task, language, question)


def _taught_answer(engine: Engine, task: Task, language: Language, question: str) -> dict[str, Any]:
    reply = ask(engine, question)
    return {
        "task": task.name,
        "language": language,
        "question": question,
        "answer": reply.text,
        "stopped": reply.has_stopped,
        "tokens_per_s": reply.tokens_per_s,
        "passed": passes(task, fenced_code(reply.text)),
    }


def unknown_answers(engine: Engine) -> Iterator[dict[str, Any]]:
    """Requests never shown in training that it cannot answer: does it say so?"""
    rng = random.Random(SEED)
    _, held_out = smalltalk.unknown_requests()
    for language, lines in held_out.items():
        templates = wordings.ENGLISH if language == "en" else wordings.CHINESE
        for line in lines:
            question = unknown_question(rng.choice(templates), line)
            text = ask(engine, question).text
            yield {"question": question, "answer": text, "declined": "```" not in text}


def function_bodies(engine: Engine, files: list[SourceFile]) -> Iterator[dict[str, Any]]:
    """Bodies of held-out functions, greedy, cut at the block's end: do they parse?

    One that is still open after MAX_BODY_TOKENS need only be the beginning of something that does.
    """
    rng = random.Random(SEED)
    heads = [
        match.group()
        for file in files
        for match in re.finditer(r"^def \w+\([^()\n]*\):\n", file.text, flags=re.MULTILINE)
    ]
    for head in rng.sample(heads, min(NUM_BODIES, len(heads))):
        reply = engine.complete(head, max_tokens=MAX_BODY_TOKENS)
        text = head + block(reply.text, is_whole=reply.has_stopped)
        is_open = not (reply.has_stopped or has_left(reply.text))
        yield {"text": text, "parses": is_beginning(text) if is_open else parses(text)}


def sampled_passes(engine: Engine, tasks: tuple[Task, ...]) -> Iterator[int]:
    """How many of NUM_SAMPLES completions after `def` and docstring pass, task by task."""
    rng = random.Random(SEED)
    functions = [task for task in tasks if not task.is_class and '"""' in task.code]
    for task in rng.sample(functions, NUM_SAMPLED_TASKS):
        head = task.code[: task.code.rindex('"""') + 4]
        passed = 0
        for seed in range(NUM_SAMPLES):
            passed += passes(task, head + sampled_body(engine, head, seed))
        yield passed


def sampled_body(engine: Engine, head: str, seed: int) -> str:
    """A function's body at SAMPLING_TEMPERATURE, cut at the block's end."""
    reply = engine.complete(
        head, max_tokens=humaneval.MAX_TOKENS, temperature=SAMPLING_TEMPERATURE, seed=seed
    )
    return block(reply.text, is_whole=reply.has_stopped)


def humaneval_figures(engine: Engine) -> dict[str, float]:
    """pass@1 and pass@10 of HumanEval where its package is installed."""
    if not humaneval.is_installed():
        return {"humaneval_tasks": 0}
    passed = humaneval.passed_samples(partial(sampled_body, engine))
    return {
        "humaneval_tasks": len(passed),
        "humaneval_pass_at_1": mean(pass_at(humaneval.NUM_SAMPLES, c, 1) for c in passed),
        "humaneval_pass_at_10": mean(pass_at(humaneval.NUM_SAMPLES, c, 10) for c in passed),
    }


def demo(engine: Engine, kind: str, prompt: str) -> dict[str, str]:
    """One unedited sample."""
    if kind == "chat":
        reply = ask(engine, prompt)
    elif kind == "infill":
        reply = engine.complete(infill_prompt(*prompt.split("<fill>")), max_tokens=64)
    else:
        reply = engine.complete(prompt, max_tokens=96)
    ending = "stopped by itself" if reply.has_stopped else "cut"
    return {"kind": kind, "prompt": prompt, "text": reply.text, "ending": ending}


def ask(engine: Engine, question: str) -> Completion:
    prompt = chat_prompt((Turn("user", question),))
    return engine.complete(prompt, max_tokens=MAX_ANSWER_TOKENS)


def fenced_code(answer: str) -> str:
    """The first fenced block of an answer, or text that is no Python when there is none."""
    found = re.search(r"```python\n(.*?)```", answer, flags=re.DOTALL)
    return found.group(1) if found else "no code ="


def pass_at(num_samples: int, num_passed: int, k: int) -> float:
    """The unbiased estimator of Chen et al. 2021, arXiv 2107.03374."""
    return 1 - math.comb(num_samples - num_passed, k) / math.comb(num_samples, k)


def share(values: Iterator[bool]) -> float:
    return mean(float(value) for value in values)


def mean(values: Iterator[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else math.nan
