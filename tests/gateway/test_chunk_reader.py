"""The short way through an engine's stream means what the long way means, however it is cut."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.errors import HearthError
from codehearth.gateway.engine.chunk_reader import ChunkReader, read_slowly
from codehearth.gateway.engine.chunks import Piece
from codehearth.wire.sse import EventReader

texts = st.text(max_size=12)
# Escapes as engines write them, broken ones, and what looks like the end of a chunk.
raw_texts = st.lists(
    st.sampled_from(
        (
            *(b"a", b" ", rb"\n", rb"\"", rb"\\", rb"\u001f", rb"\ud83d", rb"\ude00", rb"\x"),
            *("é🙂".encode(), b"\xff", b"\x01", b"\n\n", b'"', b"\\"),
            *(b'"}}],"created":', b'","content":"'),
        )
    ),
    max_size=5,
).map(b"".join)
cuts = st.lists(st.integers(0, 3000), max_size=8)


def chat_event(text: str, **more: Any) -> bytes:
    choice = {"finish_reason": None, "index": 0, "delta": {"content": text}}
    return b"data: " + json.dumps({"choices": [choice], "created": 1} | more).encode() + b"\n\n"


def completion_event(text: str) -> bytes:
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": None}
    data = json.dumps({"choices": [choice], "id": "x"}, ensure_ascii=False)
    return b"data: " + data.encode() + b"\n\n"


last_events = st.sampled_from(
    [
        b"data: [DONE]\n\n",
        b'data: {"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"usage":{}}\n\n',
        b'data: {"error":{"message":"no","code":500}}\n\n',
        b'data: {"choices":[{"delta":{"content":"x","tool_calls":[]},"index":0}]}\n\n',
        b": ping\n\n",
        chat_event("after a second", created=2),
    ]
)


def parts_of(stream: bytes, where: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(stream)) for cut in where), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


def read_quickly(parts: Sequence[bytes]) -> tuple[list[Piece], str]:
    """All pieces, and how it ended."""
    reader, pieces = ChunkReader(), []
    try:
        for part in parts:
            read = reader.feed(part)
            pieces += read.pieces
            if read.failure is not None:
                raise read.failure
            if read.is_done:
                return pieces, "done"
    except HearthError as error:
        return pieces, str(error)
    return pieces, ""


def read_the_long_way(parts: Sequence[bytes]) -> tuple[list[Piece], str]:
    reader, pieces = EventReader(), []
    try:
        for event in (event for part in parts for event in reader.feed(part)):
            if event.data == b"[DONE]":
                return pieces, "done"
            pieces.append(read_slowly(event))
    except HearthError as error:
        return pieces, str(error)
    return pieces, ""


def meaning(pieces: Sequence[Piece]) -> list[Any]:
    """What a client could tell apart: neighbouring texts are one, empty pieces are nothing."""
    told: list[Any] = []
    for piece in pieces:
        is_text = set(piece.delta) == {"content"} or set(piece.delta) == {"text"}
        if is_text and piece.finish_reason is None and piece.usage is None and not piece.logprobs:
            ((name, text),) = piece.delta.items()
            before = told.pop() if told and told[-1][0] == name else (name, "")
            told.append((name, before[1] + text))
        elif not piece.is_empty:
            told.append(("piece", piece))
    return [item for item in told if item[1]]


@pytest.mark.parametrize("event_of", [chat_event, completion_event])
@given(st.data())
def test_both_ways_mean_the_same(event_of: Any, data: st.DataObject) -> None:
    stream = b"".join(map(event_of, data.draw(st.lists(texts, max_size=8))))
    parts = parts_of(stream + data.draw(last_events), data.draw(cuts))

    quick, slow = read_quickly(parts), read_the_long_way(parts)

    assert quick[1] == slow[1]
    assert meaning(quick[0]) == meaning(slow[0])  # also what came together with an error


@given(st.lists(raw_texts, max_size=6), cuts)
def test_both_ways_agree_on_what_is_no_json(raw: list[bytes], where: list[int]) -> None:
    """Whatever stands where the text should: what one way refuses, the other refuses, too."""
    before, after = chat_event("TEXT").split(b"TEXT")
    parts = parts_of(chat_event("first") + b"".join(before + r + after for r in raw), where)

    quick, slow = read_quickly(parts), read_the_long_way(parts)

    assert quick[1] == slow[1]
    if not slow[1]:
        assert meaning(quick[0]) == meaning(slow[0])


def test_texts_that_come_together_are_one_piece() -> None:
    reader = ChunkReader()
    reader.feed(chat_event("def"))

    read = reader.feed(chat_event(" f") + chat_event("():\n") + chat_event('"'))

    assert read.pieces == [Piece(delta={"content": ' f():\n"'})]
