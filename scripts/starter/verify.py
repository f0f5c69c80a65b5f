"""Proof that the exported file says in llama.cpp what it says here: greedy text, side by side."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from . import export
from . import tokenizer as vocabulary
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
PROMPTS = ("def fibonacci(n):", "class Stack:\n", "import json\n\ndef load_", "# 冒泡排序\ndef ")
INFILLS = (
    ("def average(numbers):\n    total = sum(", ")\n    return total / len(numbers)\n"),
    ("def is_even(n):\n    return ", "\n"),
)


def verify(path: Path) -> Iterator[str]:
    """A line for each prompt: whether both texts are equal, and the text."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = 1024
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.verbosity = 0
    server = xllamacpp.Server(parameters)
    base = str(server.listening_address)
    network, tokenizer = export.read_gguf(path)
    for question in CHATS:
        prompt = chat_prompt((Turn("user", question),))
        request = {
            "messages": [{"role": "user", "content": question}],
            "max_tokens": MAX_TOKENS,
            "temperature": 0,
        }
        reply = _post(f"{base}/v1/chat/completions", request)
        yield _compare(network, tokenizer, prompt, reply["choices"][0]["message"]["content"])
    for prompt in PROMPTS:
        request = {"prompt": prompt, "n_predict": MAX_TOKENS, "temperature": 0}
        yield _compare(network, tokenizer, prompt, _post(f"{base}/completion", request)["content"])
    for prefix, suffix in INFILLS:
        request = {
            "input_prefix": prefix,
            "input_suffix": suffix,
            "n_predict": MAX_TOKENS,
            "temperature": 0,
        }
        reply = _post(f"{base}/infill", request)
        yield _compare(network, tokenizer, infill_prompt(prefix, suffix), reply["content"])


def _compare(network: Network, tokenizer: Tokenizer, prompt: str, theirs: str) -> str:
    ours, has_stopped = complete(network, tokenizer, prompt, max_tokens=MAX_TOKENS)
    # llama.cpp trims nothing, but a byte-pair character cut at the limit reads differently.
    is_equal = ours.rstrip("\N{REPLACEMENT CHARACTER}") == theirs.rstrip(
        "\N{REPLACEMENT CHARACTER}"
    )
    shown = prompt.replace(vocabulary.IM_START, "").replace(vocabulary.IM_END, "")
    verdict = "equal " if is_equal else "DIFFER"
    ending = "stopped" if has_stopped else "cut"
    return f"{verdict} {ending:7} {shown!r} -> {ours!r}" + ("" if is_equal else f" / {theirs!r}")


def _post(url: str, body: dict[str, object]) -> Any:
    request = urllib.request.Request(  # noqa: S310 - our own server on loopback
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
        return json.load(response)
