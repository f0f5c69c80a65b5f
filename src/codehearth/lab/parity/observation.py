"""What one side showed: how it reads prompts, what it writes, where it ends. Data, and how an
engine's answers become it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codehearth.lab.parity.prompts import Prompt


@dataclass(frozen=True)
class Token:
    """A token that was written without chance, with its log-probability (nats, None where the
    engine does not tell) and `top`, the log-probabilities of the likeliest ones by their id."""

    id: int
    text: str = ""
    logprob: float | None = None
    top: Mapping[int, float] = field(default_factory=dict)

    @property
    def likeliest(self) -> int:
        """Not always the one that was written: an engine that may not end leaves out the ends."""
        return max(self.top, key=self.top.__getitem__, default=self.id)


@dataclass(frozen=True)
class Reading:
    """A prompt as one side reads it.

    `text` is what a chat template made of it, None where the engine does not tell; `ids` and
    `pieces` are its tokens, empty where the engine does not tell; `num_counted` is how many tokens
    the engine counted when it was really asked.
    """

    prompt: Prompt
    text: str | None
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    num_counted: int


@dataclass(frozen=True)
class Line:
    """What a side writes: at each place, the token that it holds for the likeliest after the
    same tokens before it. For the reference those are its own; for the other side, the
    reference's too, so that one early difference does not make all the rest another text."""

    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class Ends:
    """Where answers end: for each candidate's id, whether an answer ends with that token; None
    where the engine does not do what is needed to see it. `turn` is the token that ends a turn in
    the chat template, None where there is none or it cannot be seen."""

    stops: Mapping[int, bool | None]
    turn: int | None = None
    names: Mapping[int, str] | None = None

    def name(self, token: int) -> str:
        return (self.names or {}).get(token) or f"token {token}"


@dataclass(frozen=True)
class Observation:
    """All that one side showed. `bits` are its weights' bits, `begin` the id of the token that may
    begin a text, None where there is none; `has_template` and `marks` are what its files hold."""

    label: str
    bits: float
    begin: int | None
    has_template: bool
    marks: frozenset[str]
    readings: tuple[Reading, ...]
    lines: tuple[Line, ...]
    ends: Ends


# --- from an engine's answers ---------------------------------------------------------------------


def tokenized(answer: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Ids and texts of a tokenizer's answer: llama.cpp's form, or vLLM's."""
    tokens = answer.get("tokens") or []
    if all(isinstance(one, dict) for one in tokens):
        return tuple(int(one["id"]) for one in tokens), tuple(_piece(one) for one in tokens)
    texts = answer.get("token_strs") or [""] * len(tokens)
    return tuple(map(int, tokens)), tuple(map(str, texts))


def written(answer: Mapping[str, Any]) -> tuple[Token, ...]:
    """The tokens of a completion with their log-probabilities, empty where they have no ids.

    Two forms are known: a list of entries with ids, as llama.cpp and our workers write it, and
    OpenAI's old one with `token_id:7` for a token's text, as vLLM writes it when asked to.
    """
    logprobs = answer["choices"][0].get("logprobs") or {}
    if "tokens" not in logprobs:
        entries = logprobs.get("content") or []
        has_ids = all("id" in entry for entry in entries)
        return _filled_up(tuple(map(_of_entry, entries)), answer) if has_ids else ()
    names = logprobs["tokens"]
    if not all(str(name).startswith(_BY_ID) for name in names):
        return ()
    tops: Sequence[Mapping[str, float]] = logprobs.get("top_logprobs") or [{}] * len(names)
    return tuple(
        Token(_id(name), "", float(logprob), {_id(one): float(p) for one, p in top.items()})
        for name, logprob, top in zip(names, logprobs["token_logprobs"], tops, strict=True)
    )


def _filled_up(entries: tuple[Token, ...], answer: Mapping[str, Any]) -> tuple[Token, ...]:
    """All tokens of an answer of llama.cpp, which has no entry for a token that leaves a character
    unfinished, but one for the token that finishes it.

    Matched from the end: there, the first that has the entry's id is the one that finished. Empty
    where the engine does not tell all ids and some are missing.
    """
    ids = (answer.get("__verbose") or {}).get("tokens") or [token.id for token in entries]
    if len(ids) < int((answer.get("usage") or {}).get("completion_tokens", 0)):
        return ()
    rest = list(entries)
    found = [rest.pop() if rest and rest[-1].id == one else Token(int(one)) for one in ids[::-1]]
    return () if rest else tuple(found[::-1])


_BY_ID = "token_id:"


def _id(name: str) -> int:
    return int(name.removeprefix(_BY_ID))


def _of_entry(entry: Mapping[str, Any]) -> Token:
    top = {int(one["id"]): float(one["logprob"]) for one in entry.get("top_logprobs") or ()}
    return Token(int(entry["id"]), str(entry["token"]), float(entry["logprob"]), top)


def _piece(token: Mapping[str, Any]) -> str:
    """llama.cpp writes what is no text as a list of bytes."""
    piece = token.get("piece", "")
    if isinstance(piece, list):
        return bytes(piece).decode("utf-8", "replace")
    return str(piece)
