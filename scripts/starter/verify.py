"""Proof that the exported file says in llama.cpp what it says in torch: greedy, side by side.

Both read the same Q8_0 weights, but llama.cpp also rounds the activations: where two tokens are
nearly alike, the texts may part. What was taught is far from such a tie.
"""

from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

from . import export
from . import tokenizer as vocabulary
from .engine import Engine
from .generation import chat_prompt, complete, infill_prompt
from .network import Network
from .windows import Turn

MAX_TOKENS = 64
CHATS = (
    "write a function that reverses a string",
    "写一个函数，判断一个数是不是质数",
    "你是谁",
    "hello",
)
PROMPTS = ("def fibonacci(n):", "class Stack:\n", "import json\n\ndef load_", "# 实现冒泡排序\n")
INFILLS = (
    ("def average(numbers):\n    total = sum(", ")\n    return total / len(numbers)\n"),
    ("def is_even(n):\n    return ", "\n"),
)


def verify(path: Path) -> Iterator[str]:
    """A line for each prompt, through the route an application would use."""
    engine = Engine(path)
    network, tokenizer = export.read_gguf(path)
    limits: dict[str, object] = {"n_predict": MAX_TOKENS, "temperature": 0}
    for question in CHATS:
        messages = [{"role": "user", "content": question}]
        reply = engine.post("/v1/chat/completions", {"messages": messages, **limits})
        prompt = chat_prompt((Turn("user", question),))
        yield _compare(network, tokenizer, prompt, reply["choices"][0]["message"]["content"])
    for prompt in PROMPTS:
        reply = engine.post("/completion", {"prompt": prompt, **limits})
        yield _compare(network, tokenizer, prompt, reply["content"])
    # Not `/infill`: it puts a repository's and a file's name first, which training never showed.
    for prompt in (infill_prompt(prefix, suffix) for prefix, suffix in INFILLS):
        reply = engine.post("/completion", {"prompt": prompt, **limits})
        yield _compare(network, tokenizer, prompt, reply["content"])


def _compare(network: Network, tokenizer: Tokenizer, prompt: str, theirs: str) -> str:
    ours, has_stopped = complete(network, tokenizer, prompt, max_tokens=MAX_TOKENS)
    # A character cut in half at the limit is shown by one and left out by the other.
    ours = ours.rstrip("\N{REPLACEMENT CHARACTER}")
    theirs = theirs.rstrip("\N{REPLACEMENT CHARACTER}")
    shown = prompt.replace(vocabulary.IM_START, "").replace(vocabulary.IM_END, "")
    verdict = "equal " if ours == theirs else "DIFFER"
    ending = "stopped" if has_stopped else "cut"
    return f"{verdict} {ending:7} {shown!r} -> {ours!r}" + (
        "" if ours == theirs else f" / {theirs!r}"
    )
