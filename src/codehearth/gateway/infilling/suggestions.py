"""Suggestions under way: who waits for which, who is overtaken, what is typed along.

1. The latest request of an editor wins: its earlier ones end with what they have.
2. Who asks again for what is under way, or has typed along its beginning, joins it.
3. Who typed along a finished suggestion gets its rest from memory.
4. A suggestion that nobody waits for any more is stopped.

An earlier request is overtaken only by one for another place in the text: a client may ask the
same question several times at once to get alternatives. Of an editor that is only guessed (see
`clients.py`) the places must be near each other; so a batch of questions about different texts,
sent by one program, runs to its end.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from codehearth.gateway.engine.chunks import Piece
from codehearth.gateway.infilling.clients import Client
from codehearth.gateway.infilling.recall import Recall

Batches = AsyncGenerator[list[Piece], None]
NEAR_CHARACTERS = 400
"""How far the cursor may have moved between two requests of one guessed editor."""


@dataclass(frozen=True)
class Place:
    """Where in which text a completion is asked for."""

    prefix: str
    suffix: str
    path: str | None = None

    def is_near(self, other: Place) -> bool:
        """Whether both can be one person's cursor a moment apart."""
        if self.path != other.path:
            return False
        if self.suffix or other.suffix:
            return _differing(self.suffix[::-1], other.suffix[::-1]) <= NEAR_CHARACTERS
        return _differing(self.prefix, other.prefix) <= NEAR_CHARACTERS


@dataclass(eq=False)
class Keystroke:
    """One request of an editor, from its arrival until it is answered or overtaken."""

    client: Client
    place: Place
    is_warm_up: bool = False
    is_overtaken: bool = False
    is_recalled: bool = False
    readings: list[Reading] = field(default_factory=list)

    def overtake(self) -> None:
        self.is_overtaken = True
        for reading in self.readings:
            reading.wake()


class Flight:
    """One suggestion while it is generated; its task lives as long as somebody reads it.

    `text` is what can be sent, `written` what the engine has written so far: more than that,
    since where an answer ends is decided line by line.
    """

    def __init__(self, prefix: str, batches: Batches) -> None:
        self.prefix = prefix
        self.text = ""
        self.written = ""
        self.finish_reason: str | None = None
        self.usage: Any = None
        self.readings: set[Reading] = set()
        self.task = asyncio.ensure_future(self._fly(batches))
        self.task.add_done_callback(self._landed)

    async def _fly(self, batches: Batches) -> None:
        async with aclosing(batches):
            async for batch in batches:
                for piece in batch:
                    self.text += piece.delta.get("text") or ""
                    self.written += piece.delta.get("written") or ""
                    self.finish_reason = piece.finish_reason or self.finish_reason
                    self.usage = piece.usage or self.usage
                self._wake()

    def _landed(self, task: asyncio.Future[None]) -> None:
        if not task.cancelled():
            task.exception()  # looked at, also where nobody reads on
        self._wake()

    def _wake(self) -> None:
        for reading in self.readings:
            reading.wake()


class Reading:
    """A keystroke's view of a flight: its text from the character `skip` on."""

    def __init__(self, keystroke: Keystroke, flight: Flight, *, skip: int) -> None:
        self._keystroke = keystroke
        self._flight = flight
        self._skip = skip
        self._news = asyncio.Event()
        keystroke.readings.append(self)
        flight.readings.add(self)

    def wake(self) -> None:
        self._news.set()

    async def pieces(self) -> Batches:
        flight, sent = self._flight, self._skip
        while not self._keystroke.is_overtaken:
            self._news.clear()
            text = flight.text[sent:]
            if text:
                sent += len(text)
                yield [Piece(delta={"text": text})]
            elif flight.task.done():
                flight.task.result()  # raises what went wrong
                yield [Piece(finish_reason=flight.finish_reason or "stop", usage=flight.usage)]
                return
            else:
                await self._news.wait()
        yield [Piece(finish_reason="length", usage=flight.usage)]

    async def close(self) -> None:
        """The last to leave a flight stops it, and returns when its engine is free."""
        flight = self._flight
        flight.readings.discard(self)
        if not flight.readings and not flight.task.done():
            flight.task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await flight.task


class CharactersPerToken:
    """How long a token of each model is, as its last long prompt showed."""

    _AT_FIRST = 3.0
    _LEAST_TOKENS = 256

    def __init__(self) -> None:
        self._by_model: dict[str, float] = {}

    def of(self, model: str) -> float:
        """A little less than was seen, since the next text may be denser."""
        return 0.95 * self._by_model.get(model, self._AT_FIRST)

    def learn(self, model: str, num_characters: int, num_tokens: int) -> None:
        """Small differences are not followed: where a text is cut would move, and the engine's
        cache with it."""
        if num_tokens < self._LEAST_TOKENS or not num_characters:
            return
        seen, known = num_characters / num_tokens, self._by_model.get(model)
        if known is None or not 0.95 * known <= seen <= 1.3 * known:
            self._by_model[model] = seen


class Suggestions:
    """All keystrokes and flights of one server."""

    def __init__(self, recall: Recall | None = None) -> None:
        self._recall = recall or Recall()
        self.characters_per_token = CharactersPerToken()
        self._keystrokes: defaultdict[tuple[str, str], set[Keystroke]] = defaultdict(set)
        self._flights: defaultdict[bytes, set[Flight]] = defaultdict(set)

    @asynccontextmanager
    async def keystroke(
        self, client: Client, place: Place, *, is_warm_up: bool = False, is_alone: bool = False
    ) -> AsyncIterator[Keystroke]:
        """The editor's keystroke; `overtake_others` ends its earlier ones. One that `is_alone`
        comes from no editor: it overtakes nobody, and nobody overtakes it."""
        keystroke = Keystroke(client, place, is_warm_up=is_warm_up)
        editor = (client.owner, client.name)
        if not is_alone:
            self._keystrokes[editor].add(keystroke)
        try:
            yield keystroke
        finally:
            self._leave(editor, keystroke)
            for reading in keystroke.readings:
                await reading.close()

    def _leave(self, editor: tuple[str, str], keystroke: Keystroke) -> None:
        others = self._keystrokes.get(editor, set())
        others.discard(keystroke)
        if not others:
            self._keystrokes.pop(editor, None)

    def overtake_others(self, keystroke: Keystroke) -> None:
        """Ends the editor's earlier keystrokes. A warm-up ends only other warm-ups, and any of its
        editor's keystrokes ends it: what it has read so far stays in the engine's cache."""
        others = self._keystrokes.get((keystroke.client.owner, keystroke.client.name), set())
        if keystroke not in others:
            return
        for other in others:
            if other is keystroke or other.place == keystroke.place:
                continue
            if keystroke.is_warm_up and not other.is_warm_up:
                continue
            is_same = keystroke.client.is_named or other.is_warm_up
            if is_same or keystroke.place.is_near(other.place):
                other.overtake()

    def answer(
        self,
        keystroke: Keystroke,
        question: bytes,
        generate: Callable[[], Batches],
        *,
        may_repeat: bool,
    ) -> Batches:
        """Pieces of the answer to a question that others may share: from memory, or of a flight
        that is under way, or of a new one. `may_repeat` where asking twice gives the same answer.
        """
        prefix = keystroke.place.prefix
        rest = self._recall.rest(question, prefix, may_repeat=may_repeat)
        if rest is not None:
            keystroke.is_recalled = True
            return _recalled(rest.text, rest.finish_reason)
        for flight in self._flights.get(question, ()):
            num_typed = len(prefix) - len(flight.prefix)
            if _is_typed_along(flight, prefix, may_repeat=may_repeat):
                return Reading(keystroke, flight, skip=num_typed).pieces()
        flight = self._begin(question, prefix, generate())
        return Reading(keystroke, flight, skip=0).pieces()

    def answer_alone(self, keystroke: Keystroke, generate: Callable[[], Batches]) -> Batches:
        """Pieces of an answer that is this keystroke's own: a second choice, or a warm-up."""
        return Reading(keystroke, Flight(keystroke.place.prefix, generate()), skip=0).pieces()

    def _begin(self, question: bytes, prefix: str, batches: Batches) -> Flight:
        flight = Flight(prefix, batches)
        self._flights[question].add(flight)

        def land(task: asyncio.Future[None]) -> None:
            self._flights[question].discard(flight)
            if not self._flights[question]:
                del self._flights[question]
            if not task.cancelled() and task.exception() is None:
                reason = flight.finish_reason or "stop"
                self._recall.remember(question, prefix, flight.text, reason)

        flight.task.add_done_callback(land)
        return flight


async def _recalled(text: str, finish_reason: str) -> Batches:
    """What memory gives costs no tokens, and says so."""
    usage = {"prompt_tokens": 0, "completion_tokens": 0}
    yield [Piece(delta={"text": text}), Piece(finish_reason=finish_reason, usage=usage)]


def _is_typed_along(flight: Flight, prefix: str, *, may_repeat: bool) -> bool:
    """Whether a flight goes where the typing went: nothing was typed, or what it has so far.

    A flight that has written nothing is joined only where nothing was typed: it might go elsewhere,
    and starting anew costs little, since the engine keeps what it has read of the prompt.
    """
    if flight.task.done() or not prefix.startswith(flight.prefix):
        return False
    typed = prefix[len(flight.prefix) :]
    if not typed:
        return may_repeat
    return len(flight.written) > len(typed) and flight.written.startswith(typed)


def _differing(one: str, other: str) -> int:
    """Characters after the common beginning of two texts, in the longer of them.

    Halves instead of walking, since texts may be megabytes.
    """
    same, different = 0, min(len(one), len(other)) + 1
    while different - same > 1:
        middle = (same + different) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            different = middle
    return max(len(one), len(other)) - same
