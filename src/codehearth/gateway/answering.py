"""Pieces to a client in its own dialect: streamed or whole, with headers that come first."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

from fastapi import Request
from starlette.responses import Response

from codehearth.errors import HearthError
from codehearth.gateway.auth import caller_of
from codehearth.gateway.engine.chunks import AnswerFormat, Piece
from codehearth.gateway.engine.generate import Choice, Order, choices_of, count, merged
from codehearth.gateway.engine.usage import last_usage, summed_usage
from codehearth.gateway.house import House, house_of
from codehearth.gateway.replies import error_body
from codehearth.gateway.streams import EVENT_STREAM, ClientGone, Generation, Writer, told_of
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.requests import Sampling
from codehearth.wire.sse import DONE, frame

Usage = Mapping[str, Any]
Headers = Callable[[], Mapping[str, str]]
"""What is told in headers; asked when the first byte is sent, since some is known only then."""


class Dialect(Protocol):
    """How pieces look on one wire."""

    content_type: str

    def opening(self, index: int) -> bytes: ...

    def piece(self, index: int, piece: Piece) -> bytes: ...

    def closing(self, usages: Sequence[Usage]) -> bytes: ...

    def whole(self, choices: Sequence[Sequence[Piece]], usages: Sequence[Usage]) -> Any: ...

    def error(self, error: HearthError) -> bytes:
        """What is sent where an answer breaks off."""
        ...


async def send_whole(
    writer: Writer,
    batches: AsyncGenerator[tuple[int, list[Piece]], None],
    dialect: Dialect,
    *,
    num_choices: int,
    headers: Headers,
) -> list[Usage]:
    """Sends one JSON document with all choices; gives what each of them used."""
    choices: list[list[Piece]] = [[] for _ in range(num_choices)]
    async with aclosing(batches):
        async for index, batch in batches:
            choices[index].extend(batch)
    usages = [last_usage(pieces) or {} for pieces in choices]
    await send_json(writer, dialect.whole(choices, usages), headers())
    return usages


async def send_stream(
    writer: Writer,
    batches: AsyncGenerator[tuple[int, list[Piece]], None],
    dialect: Dialect,
    *,
    num_choices: int,
    headers: Headers,
) -> list[Usage]:
    """Sends pieces as they come; gives what each choice used."""
    usages: list[Usage] = [{} for _ in range(num_choices)]
    begun: set[int] = set()
    try:
        async with aclosing(batches):
            async for index, batch in batches:
                data = b"" if index in begun else dialect.opening(index)
                begun.add(index)
                for piece in batch:
                    usages[index] = piece.usage or usages[index]
                    if piece.delta or piece.finish_reason:
                        data += dialect.piece(index, piece)
                if data:
                    await writer.stream(data, _stream_headers(writer, dialect, headers))
    except ClientGone:
        raise
    except Exception as error:
        if not writer.has_started:
            raise
        await writer.stream(dialect.error(told_of(error)))
        await writer.end()
        return usages
    last = dialect.closing(usages)
    if last or not writer.has_started:
        await writer.stream(last, _stream_headers(writer, dialect, headers))
    await writer.end()
    return usages


async def answer_order(
    house: House,
    order: Order,
    dialect: Dialect,
    writer: Writer,
    *,
    is_streamed: bool,
    headers: Headers = dict,
) -> None:
    """Answers what needs no editor's care, a chat or a plain continuation, in a dialect."""
    send = send_stream if is_streamed else send_whole
    usages = await send(
        writer,
        merged(choices_of(house, order)),
        dialect,
        num_choices=len(order.choices),
        headers=headers,
    )
    count(house, order, total_usage(usages, order.prompt_numbers))


def openai_answer(
    request: Request,
    asked: Sampling,
    model: str,
    choices: Sequence[Choice],
    shape: AnswerFormat,
    *,
    headers: Headers = dict,
) -> Response:
    """The answer to a request of OpenAI's, in `shape`, as its sender may have it."""
    house = house_of(request)
    order = Order(
        model=model,
        choices=choices,
        owner=caller_of(request).owner,
        keep_alive_s=house.keep_alive_s(asked.keep_alive),
    )
    dialect = OpenAIDialect(
        shape, wants_usage=asked.wants_usage, prompt_numbers=order.prompt_numbers
    )
    work = partial(
        answer_order, house, order, dialect, is_streamed=bool(asked.stream), headers=headers
    )
    return Generation(work, on_gone=house.metrics.cancelled.inc)


async def send_json(writer: Writer, document: Any, headers: Mapping[str, str]) -> None:
    """One JSON document with headers of its own."""
    body = dump_json(document)
    if not headers:
        await writer.whole(body)
        return
    first = {"content-type": "application/json", "content-length": str(len(body))}
    await writer.stream(body, first | dict(headers))
    await writer.end()


class OpenAIDialect:
    """Server-sent events in one of OpenAI's formats, ended by [DONE].

    `prompt_numbers` tell which prompt each choice answers; one for all where they are not given.
    """

    content_type = EVENT_STREAM

    def __init__(
        self,
        shape: AnswerFormat,
        *,
        wants_usage: bool = False,
        prompt_numbers: Sequence[int] | None = None,
    ) -> None:
        self._shape = shape
        self._wants_usage = wants_usage
        self._prompt_numbers = prompt_numbers

    def opening(self, index: int) -> bytes:
        opening = self._shape.opening(index)
        return frame(dump_json(opening)) if opening else b""

    def piece(self, index: int, piece: Piece) -> bytes:
        return frame(dump_json(self._shape.chunk(index, piece)))

    def closing(self, usages: Sequence[Usage]) -> bytes:
        if not self._wants_usage:
            return DONE
        return frame(dump_json(self._shape.usage_chunk(self._usage(usages)))) + DONE

    def whole(self, choices: Sequence[Sequence[Piece]], usages: Sequence[Usage]) -> Any:
        return self._shape.whole(choices, self._usage(usages))

    def error(self, error: HearthError) -> bytes:
        return frame(dump_json(error_body(error)))

    def _usage(self, usages: Sequence[Usage]) -> dict[str, Any]:
        return total_usage(usages, self._prompt_numbers)


def total_usage(
    usages: Sequence[Usage], prompt_numbers: Sequence[int] | None = None
) -> dict[str, Any]:
    """OpenAI's count of several choices, of one prompt unless told otherwise."""
    numbers = [0] * len(usages) if prompt_numbers is None else prompt_numbers
    return summed_usage(list(zip(numbers, usages, strict=True)))


def _stream_headers(writer: Writer, dialect: Dialect, headers: Headers) -> Mapping[str, str]:
    """Asked for once: the headers of a stream go out with its first frame."""
    if writer.has_started:
        return {}
    return {"content-type": dialect.content_type, "cache-control": "no-cache"} | dict(headers())
