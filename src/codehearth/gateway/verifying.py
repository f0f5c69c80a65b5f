"""The search for code that passes: candidates side by side, then repairs with what failed.

1. The candidates are asked for and judged as they come; the first that passes ends the search.
2. Where none passes, the nearest are told what failed and asked again, `repairs` times.
3. Whatever came of it, each attempt is told with its evidence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from codehearth.errors import InvalidRequest
from codehearth.gateway.engine.generate import Choice, Order, counted_pieces
from codehearth.gateway.engine.upstream import CHAT_PATH, chat_body
from codehearth.gateway.engine.usage import last_usage
from codehearth.gateway.house import House
from codehearth.lab import verifying
from codehearth.lab.judging.verdict import Verdict
from codehearth.wire.requests import ChatRequest
from codehearth.wire.validation import validated
from codehearth.wire.verified import VerifiedRequest

_CANDIDATES, _REPAIRS, _MAX_TOKENS, _TIME_S = 4, 1, 1024, 10.0
_SHOWN = 4000


@dataclass(frozen=True)
class Attempt:
    """One answer and what came of it; `repairs` is the number of the attempt that it mends."""

    number: int
    messages: Sequence[Mapping[str, Any]]
    answer: str
    code: str
    verdict: Verdict
    repairs: int | None = None

    def as_document(self) -> dict[str, Any]:
        verdict = self.verdict
        return {
            "number": self.number,
            "repairs": self.repairs,
            "passed": verdict.has_passed,
            "outcome": verdict.group,
            "detail": verdict.detail,
            "checks": verdict.num_checks,
            "tests_apart": verdict.is_apart,
            "output": verdict.stdout[:_SHOWN],
            "duration_s": verdict.duration_s,
            "code": self.code,
        }


@dataclass
class Search:
    """One request's. `run` returns the document of the answer."""

    house: House
    asked: VerifiedRequest
    model: str
    owner: str
    attempts: list[Attempt] = field(default_factory=list)
    usages: list[Mapping[str, Any]] = field(default_factory=list)
    number: int = 0

    async def run(self) -> dict[str, Any]:
        """Raises InvalidRequest for tests that cannot be run, Unsupported without a sandbox."""
        started = time.monotonic()
        protection = await self.house.sandboxed.protection()
        asked, (*before, last) = self.asked, self._messages()
        count = asked.n or _CANDIDATES
        jobs = [
            self._attempt([*before, {**last, "content": content}], temperature, None)
            for content, temperature in verifying.questions(
                last["content"], asked.tests, num_candidates=count, temperature=asked.temperature
            )
        ]
        passed, failed = await self._first_that_passes(jobs)
        for _ in range(_REPAIRS if asked.repairs is None else asked.repairs):
            if passed is not None or not failed:
                break
            numbers = verifying.to_repair([(one.code, one.verdict) for one in failed], count)
            passed, failed = await self._first_that_passes(
                [self._repair(failed[number]) for number in numbers]
            )
        best = passed or (failed[0] if failed else None)
        return {
            "object": "verified",
            "model": self.model,
            "verified": passed is not None,
            "code": best.code if best else "",
            "answer": best.answer if best else "",
            "attempt": best.number if best else None,
            "attempts": [
                one.as_document() for one in sorted(self.attempts, key=lambda one: one.number)
            ],
            "sandbox": protection,
            "usage": _summed(self.usages),
            "duration_s": round(time.monotonic() - started, 3),
        }

    def _messages(self) -> list[dict[str, Any]]:
        if self.asked.prompt is not None:
            messages: list[dict[str, Any]] = [{"role": "user", "content": self.asked.prompt}]
        else:
            messages = [one.model_dump(exclude_none=True) for one in self.asked.messages or ()]
        if not isinstance(messages[-1].get("content"), str):
            raise InvalidRequest("The last message must be a text.", param="messages")
        return messages

    async def _first_that_passes(self, jobs: Sequence[Any]) -> tuple[Attempt | None, list[Attempt]]:
        """The first attempt that passes ends the others; else all that failed, in order."""
        waiting = {asyncio.ensure_future(job) for job in jobs}
        failed: list[Attempt] = []
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    attempt: Attempt = one.result()
                    if attempt.verdict.has_passed:
                        return attempt, failed
                    failed.append(attempt)
        finally:
            for one in waiting:
                one.cancel()
            if waiting:
                await asyncio.wait(waiting)
        return None, sorted(failed, key=lambda one: one.number)

    def _repair(self, failed: Attempt) -> Any:
        messages = [
            *failed.messages,
            {"role": "assistant", "content": failed.answer},
            {"role": "user", "content": verifying.repair_of(failed.verdict)},
        ]
        temperature = 0.2 if self.asked.temperature is None else self.asked.temperature
        return self._attempt(messages, temperature, failed.number)

    async def _attempt(
        self, messages: Sequence[Mapping[str, Any]], temperature: float, repairs: int | None
    ) -> Attempt:
        self.number += 1
        number = self.number
        answer = await self._answer(messages, temperature, number)
        code = verifying.code_of(answer, self.asked.tests)
        verdict = await self.house.sandboxed.judge(
            code, self.asked.tests, time_s=self.asked.time_limit_s or _TIME_S
        )
        if verdict.group == "tests":
            raise InvalidRequest(
                f"The tests cannot be run: {verdict.detail[-300:]}",
                param="tests",
                hint="they may use Python's standard library and import from 'solution'",
            )
        attempt = Attempt(number, messages, answer, code, verdict, repairs)
        self.attempts.append(attempt)
        return attempt

    async def _answer(
        self, messages: Sequence[Mapping[str, Any]], temperature: float, number: int
    ) -> str:
        asked = self.asked
        request = validated(
            ChatRequest,
            {
                "messages": [dict(one) for one in messages],
                "max_tokens": asked.max_tokens or _MAX_TOKENS,
                "temperature": temperature,
                "top_p": asked.top_p,
                "seed": None if asked.seed is None else asked.seed + number,
            },
        )
        choice = Choice(0, CHAT_PATH, partial(chat_body, request, choice=0))
        order = Order(self.model, [choice], self.owner, self.house.keep_alive_s(asked.keep_alive))
        texts: list[str] = []
        usage: Mapping[str, Any] | None = None
        async with aclosing(counted_pieces(self.house, order)) as batches:
            async for batch in batches:
                usage = last_usage(batch) or usage
                texts += [str(piece.delta.get("content") or "") for piece in batch]
        if usage is not None:
            self.usages.append(usage)
        return "".join(texts)


def _summed(usages: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    prompt = sum(int(one.get("prompt_tokens", 0)) for one in usages)
    completion = sum(int(one.get("completion_tokens", 0)) for one in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
