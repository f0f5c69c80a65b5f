"""How the engines behind `front.py` differ from each other, a row each. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dialect:
    """One engine's server.

    `passed`: fields of the house's wire that it knows beside OpenAI's. `running`: the metric that
    counts the requests that it computes, "" where it tells none. `tokenises`: it has `/tokenize`
    and `/detokenize`, and names tokens by their ids.
    """

    name: str
    passed: tuple[str, ...] = ()
    running: str = ""
    tokenises: bool = False

    def translated(self, body: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
        """The request as this engine takes it: `body` is OpenAI's form of what was asked."""
        more = {name: asked[name] for name in self.passed if name in asked}
        if self.tokenises and body.get("logprobs") is not None:
            more["return_tokens_as_token_ids"] = True  # halves of characters have no other name
        return dict(body) | more


DIALECTS: Mapping[str, Dialect] = {
    "vllm": Dialect(
        "vllm",
        passed=("ignore_eos", "echo"),
        running="vllm:num_requests_running",
        tokenises=True,
    ),
    "lmdeploy": Dialect("lmdeploy", passed=("ignore_eos",)),
}


# How families write tokens that stand for no text; SentencePiece sets a bar before some.
_MARK = re.compile(r"▁?(?:<.+>|\[.+\])", re.DOTALL)
MAX_STOPS = 4  # texts that vLLM 0.32 takes


def is_mark(stop: str) -> bool:
    """Whether a stop is written like a special token, of which vLLM writes no text."""
    return _MARK.fullmatch(stop) is not None


def token_id_of(token: str) -> int | None:
    """The id in what stands for a token's text where ids were asked for."""
    number = token.removeprefix("token_id:")
    return int(number) if number != token and number.isdecimal() else None


def counted(metrics: str, name: str) -> int:
    """The sum of a Prometheus gauge over its labels."""
    pattern = re.compile(rf"^{re.escape(name)}(?:\{{[^\n]*\}})? ([0-9.e+]+)$", re.MULTILINE)
    return sum(int(float(value)) for value in pattern.findall(metrics))


def tokenize_body(asked: Mapping[str, Any]) -> dict[str, Any]:
    """`/tokenize`: the house's content is their prompt."""
    return {
        "prompt": asked.get("content", ""),
        "add_special_tokens": bool(asked.get("add_special", False)),
    }


# An exception as Python's traceback ends with it, alone on its line or behind a logger's prefix.
_COMPLAINT = re.compile(
    r"^(?:\(\w+ pid=\d+\) )?(?:(?:ERROR|CRITICAL) [^\]]*\] )?"
    r"((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt): .+)$"
)
_MAX_COMPLAINT_CHARS = 500
# What follows from the cause and says nothing of it.
_CONSEQUENCES = ("Engine core initialization failed", "EngineDeadError")


class Complaints:
    """What a program complained of: engines of several processes tell the cause first."""

    def __init__(self) -> None:
        self.cause: str | None = None

    def hear(self, line: str) -> None:
        found = _COMPLAINT.match(line.rstrip())
        if found and self.cause is None and not any(word in line for word in _CONSEQUENCES):
            self.cause = found[1][:_MAX_COMPLAINT_CHARS]
