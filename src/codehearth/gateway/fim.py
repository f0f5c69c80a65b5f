"""Infilling for every dialect: a `Fim` goes in, pieces come out.

1. The text is cut to what the model's context holds; headers tell what was cut.
2. It is laid out in the model's own format, whatever the client had laid it out for. A model that
   cannot infill is refused where the client knows that it asked for a middle (`needs_suffix`), and
   continues the prefix where it does not: an editor would show nothing for ever.
3. The answer is cut where its block ends, and the engine is stopped there.
4. Who asks, who is overtaken and who types along is for `suggestions`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from typing import Any

from codehearth.errors import ContextLengthExceeded, Unsupported
from codehearth.gateway.answering import Dialect, send_stream, send_whole, total_usage
from codehearth.gateway.chunks import CompletionFormat, Piece, piece_of
from codehearth.gateway.clients import Client
from codehearth.gateway.fitting import fitted_to
from codehearth.gateway.generate import Choice, Order, count, merged, pieces_of
from codehearth.gateway.house import House
from codehearth.gateway.streams import Writer
from codehearth.gateway.suggestions import Batches, Place, Turn
from codehearth.gateway.upstream import completion_body, fim_of
from codehearth.pool.child import ModelFacts
from codehearth.text.endings import Cutter, ending_of
from codehearth.text.fim import Fim, Fitted, render, render_prefix
from codehearth.text.fim_formats import FIM_FORMATS
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.requests import CompletionRequest

DEFAULT_TOKENS = 512
"""Where a client sets no limit: the end of the block is one, and this is for what has none."""
_OTHER_TEMPERATURE = 0.6
_MARGIN_TOKENS = 32
_FIT_TRIES = 3
_NOT_SAMPLING = frozenset(
    ("model", "n", "stream", "stream_options", "keep_alive", "prompt", "suffix", "user")
)


@dataclass(frozen=True)
class Infill:
    """What an editor asks. `asked` holds sampling, length, stops and the number of choices."""

    model: str
    fim: Fim
    asked: CompletionRequest
    client: Client
    needs_suffix: bool = False
    """The client knows that it asked for a middle: a model that cannot is refused."""
    ends_with_block: bool = True
    """Cut where the block ends; else the answer is the model's until a stop or the length."""
    has_optional_choices: bool = False
    """The client takes fewer choices than it asked for."""
    is_warm_up: bool = False
    """Only the cache is filled."""
    max_predict_ms: int | None = None
    samplers: tuple[str, ...] | None = None
    keep_alive_s: float | None = None
    arrived_at: float = field(default_factory=time.monotonic)

    @property
    def is_steady(self) -> bool:
        """Whether asking again gives the same answer."""
        return not self.asked.temperature or self.asked.seed is not None

    @property
    def uses_crlf(self) -> bool:
        return "\r\n" in self.fim.prefix or "\r\n" in self.fim.suffix


@dataclass
class Notes:
    """What became of a request beside its text: for headers, and for dialects that show it."""

    cut: Fitted | None = None
    is_suffix_left_out: bool = False
    context_tokens: int = 0
    turn: Turn | None = None

    @property
    def is_cut(self) -> bool:
        return self.cut is not None and self.cut.is_cut

    def headers(self) -> Mapping[str, str]:
        told = {}
        if self.cut is not None and self.cut.is_cut:
            told["x-hearth-cut"] = str(self.cut)
        if self.is_suffix_left_out:
            told["x-hearth-suffix"] = "left out: this model cannot infill"
        if self.turn is not None and self.turn.is_recalled:
            told["x-hearth-recalled"] = "1"
        if self.turn is not None and self.turn.is_overtaken:
            told["x-hearth-overtaken"] = "1"
        return told


async def answer(
    house: House, infill: Infill, notes: Notes, dialect: Dialect, writer: Writer
) -> None:
    """Answers one request of an editor, streamed or whole as it asked."""
    place = Place(infill.fim.prefix, infill.fim.suffix, infill.fim.path)
    async with house.desk.turn(infill.client, place, is_warm_up=infill.is_warm_up) as turn:
        notes.turn = turn
        choices = _choices(house, infill, notes, turn)
        house.desk.overtake_others(turn)
        send = send_stream if infill.asked.stream else send_whole
        usages = await send(
            writer, merged(choices), dialect, num_choices=len(choices), headers=notes.headers
        )
    count(house, _order(infill, []), total_usage(usages))


def _choices(house: House, infill: Infill, notes: Notes, turn: Turn) -> list[Batches]:
    def generated(number: int) -> Batches:
        return _generated(house, infill, notes, number)

    desk, numbers = house.desk, range(infill.asked.num_choices)
    if infill.is_warm_up or not infill.ends_with_block:
        return [desk.answer_alone(turn, partial(generated, number)) for number in numbers]
    first = desk.answer(
        turn, question_of(infill), partial(generated, 0), may_repeat=infill.is_steady
    )
    if turn.is_recalled and infill.has_optional_choices:
        return [first]
    return [first, *(desk.answer_alone(turn, partial(generated, n)) for n in numbers[1:])]


def question_of(infill: Infill) -> bytes:
    """What two requests must have in common to share an answer, the prefix apart."""
    sampling = infill.asked.model_dump(exclude=set(_NOT_SAMPLING), exclude_none=True)
    facts = [
        infill.client.owner,
        infill.model,
        infill.fim.suffix,
        infill.fim.path,
        infill.samplers,
        infill.max_predict_ms,
        sampling,
    ]
    return blake2b(dump_json(facts), digest_size=16).digest()


async def _generated(house: House, infill: Infill, notes: Notes, number: int) -> Batches:
    """One choice from the engine. A prompt that turns out too long is cut again, by the engine's
    own count of its tokens."""
    pace = house.desk.characters_per_token
    for attempt in range(1, _FIT_TRIES + 1):
        writing = _Writing(infill, notes, number, pace.of(infill.model))
        try:
            async with aclosing(_written(house, infill, writing)) as batches:
                async for batch in batches:
                    yield batch
            return
        except ContextLengthExceeded as error:
            if attempt == _FIT_TRIES:
                raise
            pace.learn(infill.model, len(writing.prompt), error.num_prompt_tokens)
        finally:
            pace.learn(infill.model, len(writing.prompt), writing.num_prompt_tokens)


async def _written(house: House, infill: Infill, writing: _Writing) -> Batches:
    choice = Choice(
        0, "/v1/completions", writing.body, is_silent=infill.is_warm_up, read=timed_piece
    )
    async with aclosing(pieces_of(house, _order(infill, [choice]), 0)) as batches:
        async for batch in batches:
            yield [writing.cut(batch)]
            if writing.is_done:
                return


def _order(infill: Infill, choices: list[Choice]) -> Order:
    return Order(
        model=infill.model,
        choices=choices,
        format=CompletionFormat(infill.model),
        owner=infill.client.owner,
        keep_alive_s=infill.keep_alive_s,
        arrived_at=infill.arrived_at,
    )


class _Writing:
    """One choice as it is written: its prompt once the model is known, and where its text ends."""

    def __init__(
        self, infill: Infill, notes: Notes, number: int, characters_per_token: float
    ) -> None:
        self._infill = infill
        self._notes = notes
        self._number = number
        self._characters_per_token = characters_per_token
        self._cutter: Cutter | None = None
        self.prompt = ""
        self.num_prompt_tokens = 0
        self.is_done = False

    def body(self, facts: ModelFacts) -> Mapping[str, Any]:
        """The engine's request; called when the model is in memory."""
        infill, format_name = self._infill, fim_of(facts)
        if facts.weights.is_embedding_model:
            raise Unsupported("This model makes embeddings; it does not complete.", param="model")
        asked = infill.asked.max_tokens
        max_tokens = min(DEFAULT_TOKENS if asked is None else asked, facts.context_tokens // 2)
        room = facts.context_tokens - max_tokens - _MARGIN_TOKENS
        fitted = fitted_to(_with_line_feeds(infill.fim), int(room * self._characters_per_token))
        fim = fitted.fim
        self._notes.cut, self._notes.context_tokens = fitted, facts.context_tokens
        if format_name is None and not infill.needs_suffix:
            self._notes.is_suffix_left_out = bool(fim.suffix)
            self.prompt = render_prefix(fim)
        else:
            self.prompt = _laid_out(format_name, fim, facts)
        ends = FIM_FORMATS[format_name].ends if format_name else ()
        if infill.ends_with_block and not infill.is_warm_up:
            ending = ending_of(fim, format_name=format_name)
            self._cutter = Cutter(ending, fim.prefix, fim.suffix)
        return self._request(facts, max_tokens, ends)

    def _request(self, facts: ModelFacts, max_tokens: int, ends: tuple[str, ...]) -> dict[str, Any]:
        infill = self._infill
        asked = infill.asked.model_copy(
            update={
                "suffix": None,
                "max_tokens": max_tokens,
                "temperature": self._temperature,
                "stop": [*infill.asked.stops, *ends],
            }
        )
        more: dict[str, Any] = {"timings_per_token": True}
        if infill.max_predict_ms is not None and infill.max_predict_ms > 0:
            more["t_max_predict_ms"] = infill.max_predict_ms
        if infill.samplers:
            last = () if "temperature" in infill.samplers else ("temperature",)
            more["samplers"] = [*infill.samplers, *last]
        return completion_body(asked, self.prompt, facts, choice=self._number) | more

    @property
    def _temperature(self) -> float:
        """Where none is asked for: the likeliest answer first, so that one place in a text has one
        suggestion; further choices differ."""
        if self._infill.asked.temperature is not None:
            return self._infill.asked.temperature
        return 0.0 if self._number == 0 else _OTHER_TEMPERATURE

    def cut(self, batch: list[Piece]) -> Piece:
        """What arrived together as one piece, cut where the answer ends. `written` in its delta is
        all that the engine wrote, which is ahead of what can be sent."""
        written = text = "".join(piece.delta.get("text") or "" for piece in batch)
        finish_reason = next((p.finish_reason for p in batch if p.finish_reason), None)
        usage = next((piece.usage for piece in reversed(batch) if piece.usage), None)
        if usage:
            self.num_prompt_tokens = int(usage.get("prompt_tokens", 0))
        if self._cutter is not None:
            text = self._cutter.feed(text)
            if self._cutter.is_done:
                self.is_done, finish_reason = True, "stop"
            if finish_reason:
                text += self._cutter.finish()
        if self._infill.uses_crlf:
            text, written = text.replace("\n", "\r\n"), written.replace("\n", "\r\n")
        delta = {"text": text, "written": written}
        return Piece(delta, finish_reason=finish_reason, usage=usage)


def _laid_out(format_name: str | None, fim: Fim, facts: ModelFacts) -> str:
    """The family's prompt, with the beginning of the cursor's line behind the mark of the middle.

    So the model sees a middle that begins with the line, and while somebody types in a line the
    whole prompt before it stays as it is: the engine has its suffix in the cache, too. llama.cpp's
    `/infill` does the same with its `prompt`.
    """
    head, line_feed, line = fim.prefix.rpartition("\n")
    layout = FIM_FORMATS.get(format_name or "")
    if layout is None or any(token in line for token in layout.tokens):
        return render(format_name, fim, marks=facts.weights.fim_marks)
    before = replace(fim, prefix=head + line_feed)
    return render(format_name, before, marks=facts.weights.fim_marks) + line


def timed_piece(chunk: Any) -> Piece:
    """A chunk with llama.cpp's timings, so that a count is there also where we stop the engine."""
    piece = piece_of(chunk)
    timings = chunk.get("timings")
    if not isinstance(timings, dict):
        return piece
    cached, read = int(timings.get("cache_n") or 0), int(timings.get("prompt_n") or 0)
    usage = {
        "prompt_tokens": cached + read,
        "completion_tokens": int(timings.get("predicted_n") or 0),
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    return replace(piece, usage=usage | dict(piece.usage or {}) | {"timings": timings})


def _with_line_feeds(fim: Fim) -> Fim:
    """Models are trained on `\\n`; the answer gets the editor's line ends back."""
    if "\r" not in fim.prefix and "\r" not in fim.suffix:
        return fim
    return replace(
        fim, prefix=fim.prefix.replace("\r\n", "\n"), suffix=fim.suffix.replace("\r\n", "\n")
    )
