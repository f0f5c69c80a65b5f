"""The event reader gives the same events however the stream is cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.errors import UpstreamFailed
from codehearth.wire.sse import Event, EventReader, frame

texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)
names = st.from_regex(r"[a-z_.]{0,12}", fullmatch=True)


@given(
    st.lists(st.tuples(names, texts), max_size=6),
    st.lists(st.integers(0, 400), max_size=8),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_any_cut_and_any_line_end_gives_the_events_that_were_sent(
    events: list[tuple[str, str]], cuts: list[int], line_end: bytes
) -> None:
    stream = b"".join(frame(text.encode(), name=name) for name, text in events)
    stream = stream.replace(b"\n", line_end) + b": the end\n"
    reader = EventReader()

    got = []
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        got += list(reader.feed(stream[start:end]))

    assert got == [Event(name, text.encode()) for name, text in events]


def test_several_data_lines_are_one_event() -> None:
    assert list(EventReader().feed(b": hi\ndata: a\ndata:b\n\n")) == [Event("", b"a\nb")]


def test_an_event_without_an_end_is_refused_instead_of_filling_the_memory() -> None:
    reader = EventReader()

    with pytest.raises(UpstreamFailed, match="does not end"):
        for _ in range(20):
            list(reader.feed(b"data: " + b"x" * 2**20))
