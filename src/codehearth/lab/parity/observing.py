"""Asks one side, started as the real child: how it reads, what it writes, where it ends.

1. Each prompt is rendered and tokenized by the engine, and really asked once, for one token: so
   it shows how many tokens it reads when a client asks.
2. It writes greedily after each prompt. The reference writes freely; the other side is led along
   the reference's tokens, and where it would have gone elsewhere it says so and is led on.
3. Each token that may end an answer is made the likeliest, and the answer ends there or goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from codehearth.engines.base import Engine, Launch
from codehearth.engines.process import EngineProcess
from codehearth.lab.asking import Asker, client_of
from codehearth.lab.parity.observation import (
    Ends,
    Line,
    Observation,
    Reading,
    Token,
    tokenized,
    written,
)
from codehearth.lab.parity.prompts import Prompt, after_answer, finished_turn
from codehearth.models.facts import Weights

NUM_NEW_TOKENS = 24
# vLLM gives 20 at most; more than a few hardly ever matter.
_NUM_TOP = 10
_SURE = 100.0  # as a bias: the most that OpenAI's API takes
_MARK = ("<", "[")


@dataclass(frozen=True)
class Side:
    """What is compared: an engine with the model it loads. `fields` go with every request, as an
    adapter's name does."""

    label: str
    engine: Engine
    launch: Launch
    weights: Weights
    bits: float
    fields: Mapping[str, Any] = field(default_factory=dict)


async def observe(
    side: Side,
    prompts: Sequence[Prompt],
    *,
    reference: Observation | None,
    ends: Iterable[int],
    step: Callable[[str], None],
) -> Observation:
    """Start the side's child, look, and stop it. `ends` are the ids that may end an answer.

    Raises EngineFailed with the child's last lines.
    """
    process = EngineProcess(side.label, partial(side.engine.command, side.launch))
    try:
        step(f"{side.label}: loading")
        async with client_of(await process.ensure_ready()) as client:
            look = _Look(side, Asker(process, client))
            step(f"{side.label}: reading prompts")
            readings = [await look.reading(prompt) for prompt in prompts]
            step(f"{side.label}: writing")
            lines = [await look.line(ids, lead) for ids, lead in _leads(readings, reference)]
            step(f"{side.label}: looking where answers end")
            found = await look.ends({*ends, *(reference.ends.stops if reference else ())})
    finally:
        await process.stop()
    return Observation(
        label=side.label,
        bits=side.bits,
        begin=side.weights.token_ids.get("bos"),
        has_template=side.weights.chat_template is not None,
        marks=side.weights.fim_marks,
        readings=tuple(readings),
        lines=tuple(lines),
        ends=found,
    )


def _leads(
    readings: Sequence[Reading], reference: Observation | None
) -> Iterable[tuple[tuple[int, ...], Sequence[Token] | None]]:
    """For each prompt the tokens to write after and to be led along: the reference's own, so that
    another tokenization is not taken for another model."""
    if reference is None:
        return [(reading.ids, None) for reading in readings]
    return [
        (reading.ids, line.tokens)
        for reading, line in zip(reference.readings, reference.lines, strict=True)
    ]


class _Look:
    """One running child, asked one thing after the other."""

    def __init__(self, side: Side, asker: Asker) -> None:
        self._fields = {"model": side.launch.alias, **side.fields}
        self._asker = asker

    async def reading(self, prompt: Prompt) -> Reading:
        text = await self._rendered(prompt.body["messages"]) if prompt.messages else prompt.text
        ids, pieces = await self._tokens(text, prompt.body.get("messages"))
        body = {**prompt.body, "max_tokens": 1, "temperature": 0}
        answer = await self._ask(prompt.path, body)
        counted = int((answer.get("usage") or {}).get("prompt_tokens", 0))
        return Reading(prompt, text if prompt.messages else None, ids, pieces, counted)

    async def line(self, ids: Sequence[int], lead: Sequence[Token] | None) -> Line:
        """Free without a lead; with one, at each of its places what this side would write."""
        if not ids:
            return Line(())
        if lead is None:
            return Line(await self._written(ids, NUM_NEW_TOKENS))
        found: list[Token] = []
        while len(found) < len(lead):
            before = [token.id for token in lead[: len(found)]]
            more = await self._written([*ids, *before], len(lead) - len(found))
            if not more:
                break
            found += _followed(more, lead[len(found) :])
        return Line(tuple(found))

    async def ends(self, candidates: Iterable[int]) -> Ends:
        turn, name = await self._turn_end()
        ids = sorted({*candidates, *(() if turn is None else (turn,))})
        stops = {token: await self._stops_at(token) for token in ids}
        names = await self._names(ids)
        return Ends(stops, turn, names | ({turn: name} if turn is not None else {}))

    # --- single questions ---------------------------------------------------------------------

    async def _rendered(self, messages: Sequence[Mapping[str, str]]) -> str | None:
        status, answer = await self._asker.try_asking("/apply-template", {"messages": messages})
        text = answer.get("prompt")
        return text if status == 200 and isinstance(text, str) else None

    async def _tokens(
        self, text: str | None, messages: object = None, *, begins: bool = True
    ) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """As the engine tokenizes what it is sent; nothing where it has no such route.

        llama.cpp's fields and vLLM's are sent together, and each takes its own. Our worker on
        transformers tokenizes messages as it does when it is asked to chat.
        """
        body: dict[str, Any] = {"with_pieces": True, "return_token_strs": True, **self._fields}
        if text is not None:
            body |= {"content": text, "add_special": begins, "parse_special": True}
        if messages is not None:
            body["messages"] = messages
        elif text is not None:
            body |= {"prompt": text, "add_special_tokens": begins}
        status, answer = await self._asker.try_asking("/tokenize", body)
        return tokenized(answer) if status == 200 else ((), ())

    async def _written(self, ids: Sequence[int], number: int) -> tuple[Token, ...]:
        body = {
            "prompt": list(ids),
            "max_tokens": number,
            "temperature": 0,
            "logprobs": _NUM_TOP,
            "ignore_eos": True,
            "return_tokens_as_token_ids": True,
            "return_tokens": True,
            "verbose": True,
        }
        return written(await self._ask("/v1/completions", body))

    async def _turn_end(self) -> tuple[int | None, str]:
        """The token that stands behind an answer in a conversation, where it is a mark."""
        rendered = await self._rendered(finished_turn())
        behind = after_answer(rendered) if rendered else ""
        ids, pieces = await self._tokens(behind, begins=False) if behind else ((), ())
        is_mark = bool(pieces) and len(pieces[0]) > 1 and pieces[0].startswith(_MARK)
        return (ids[0], pieces[0]) if is_mark else (None, "")

    async def _stops_at(self, token: int) -> bool | None:
        body = {
            "prompt": "def ",
            "max_tokens": 2,
            "temperature": 0,
            "logit_bias": {str(token): _SURE},
        }
        status, answer = await self._asker.try_asking("/v1/completions", {**self._fields, **body})
        if status != 200:
            return None
        return bool(answer["choices"][0]["finish_reason"] == "stop")

    async def _names(self, ids: Sequence[int]) -> dict[int, str]:
        names = {}
        for token in ids:
            status, answer = await self._asker.try_asking("/detokenize", {"tokens": [token]})
            text = answer.get("content") or answer.get("prompt")
            if status == 200 and isinstance(text, str):
                names[token] = text
        return names

    async def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._asker.ask(path, {**self._fields, **body})


def _followed(written: Sequence[Token], lead: Sequence[Token]) -> list[Token]:
    """As far as the lead was followed, and the first place where it was not."""
    found = []
    for token, led in zip(written, lead, strict=False):
        found.append(token)
        if token.id != led.id:
            break
    return found
