"""Infilling for every dialect: an `Infill` goes in, pieces come out.

1. The text is cut to what the model's context holds; headers tell what was cut.
2. It is laid out in the model's own format, whatever the client had laid it out for. A model that
   cannot infill is refused where the client knows that it asked for a middle (`needs_suffix`), and
   continues the prefix where it does not: an editor would show nothing for ever.
3. The answer is cut where its block ends, and the engine is stopped there.
4. Who asks, who is overtaken and who types along is for `suggestions`.

The first three happen in `writing`, once the model is in memory.
"""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from hashlib import blake2b

from starlette.responses import Response

from codehearth.errors import ContextLengthExceeded
from codehearth.gateway.answering import Dialect, send_stream, send_whole, total_usage
from codehearth.gateway.engine.chunks import timed_piece
from codehearth.gateway.engine.generate import Choice, Order, count, merged, pieces_of
from codehearth.gateway.house import House
from codehearth.gateway.infilling.infill import Infill, Notes
from codehearth.gateway.infilling.neighbours import with_neighbours
from codehearth.gateway.infilling.suggestions import Batches, Keystroke, Place
from codehearth.gateway.infilling.writing import Writing
from codehearth.gateway.streams import Generation, Writer
from codehearth.wire.bounded_json import dump_json

_FIT_TRIES = 3
_NOT_SAMPLING = frozenset(
    ("model", "n", "stream", "stream_options", "keep_alive", "prompt", "suffix", "user")
)


def infilled(
    house: House,
    infill: Infill,
    dialect: Dialect,
    *,
    notes: Notes | None = None,
    suggestion_id: str | None = None,
) -> Response:
    """The answer as a response; what becomes of a suggestion with an id can be told later."""
    if suggestion_id is not None and not infill.is_warm_up:
        house.acceptance.remember(
            suggestion_id,
            model=infill.model,
            language=infill.language_name,
            owner=infill.client.owner,
        )
    work = partial(answer, house, infill, notes or Notes(), dialect)
    return Generation(work, on_gone=house.metrics.cancelled.inc)


async def answer(
    house: House, infill: Infill, notes: Notes, dialect: Dialect, writer: Writer
) -> None:
    """Answers one request of an editor, streamed or whole as it asked."""
    place = Place(infill.fim.prefix, infill.fim.suffix, infill.fim.path)
    sitting = house.suggestions.keystroke(
        infill.client,
        place,
        is_warm_up=infill.is_warm_up,
        is_alone=not infill.ends_with_block,
    )
    async with sitting as keystroke:
        notes.keystroke = keystroke
        choices = _choices(house, infill, notes, keystroke)
        house.suggestions.overtake_others(keystroke)
        send = send_stream if infill.asked.stream else send_whole
        usages = await send(
            writer, merged(choices), dialect, num_choices=len(choices), headers=notes.headers
        )
    count(house, _order(infill, []), total_usage(usages))


def _choices(house: House, infill: Infill, notes: Notes, keystroke: Keystroke) -> list[Batches]:
    def generated(number: int) -> Batches:
        return _generated(house, infill, notes, number)

    def alone(number: int) -> Batches:
        return house.suggestions.answer_alone(keystroke, partial(generated, number))

    numbers = range(infill.asked.num_choices)
    if infill.is_warm_up or not infill.ends_with_block:
        return [alone(number) for number in numbers]
    first = house.suggestions.answer(
        keystroke, question_of(infill), partial(generated, 0), may_repeat=infill.is_steady
    )
    if keystroke.is_recalled and infill.has_optional_choices:
        return [first]
    return [first, *(alone(number) for number in numbers[1:])]


def question_of(infill: Infill) -> bytes:
    """What two requests must have in common to share an answer, the prefix apart."""
    sampling = infill.asked.model_dump(exclude=set(_NOT_SAMPLING), exclude_none=True)
    facts = [
        infill.client.owner,
        infill.model,
        infill.fim.suffix,
        infill.fim.path,
        infill.repository,
        infill.samplers,
        infill.max_predict_ms,
        sampling,
    ]
    return blake2b(dump_json(facts), digest_size=16).digest()


async def _generated(house: House, infill: Infill, notes: Notes, number: int) -> Batches:
    """One choice from the engine. A prompt that turns out too long is cut again, by the engine's
    own count of its tokens."""
    pace = house.suggestions.characters_per_token
    infill = await with_neighbours(house, infill, notes)
    for attempt in range(1, _FIT_TRIES + 1):
        writing = Writing(infill, notes, number, pace.of(infill.model))
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


async def _written(house: House, infill: Infill, writing: Writing) -> Batches:
    choice = Choice(
        0,
        "/v1/completions",
        writing.body,
        is_silent=infill.is_warm_up,
        read=timed_piece,
        is_framed=False,
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
        owner=infill.client.owner,
        keep_alive_s=infill.keep_alive_s,
        arrived_at=infill.arrived_at,
    )
