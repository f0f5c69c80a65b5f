"""What is believed of a hub's response, and where a redirect may lead: the pure decisions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.errors import HubFailed
from codehearth.models.hubs import DownloadBroken, HubUnreachable, RemoteFile
from codehearth.models.huggingface_stream import redirected
from codehearth.models.transfer import (
    RETRY_DELAYS_S,
    ConnectionLost,
    StalePartial,
    fetch,
    is_intact,
    write_offset,
)

FILE = RemoteFile("m.gguf", 10)


@pytest.mark.parametrize(
    ("status", "headers", "asked", "offset"),
    [
        (200, {}, 0, 0),
        (200, {"content-length": "10"}, 0, 0),
        (200, {"content-length": "10"}, 4, 0),
        (200, {"content-length": "5", "content-encoding": "gzip"}, 0, 0),
        (206, {"content-range": "bytes 4-9/10"}, 4, 4),
        (206, {"content-range": "bytes 4-9/*"}, 4, 4),
    ],
)
def test_a_right_answer_tells_where_its_bytes_belong(
    status: int, headers: dict[str, str], asked: int, offset: int
) -> None:
    assert write_offset(status, headers, asked=asked, file=FILE) == offset


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (416, {}),
        (206, {}),
        (206, {"content-range": "bytes 3-9/10"}),
        (206, {"content-range": "bytes 4-9/11"}),
        (206, {"content-range": "bytes 4-9/010"}),
        (206, {"content-range": "lines 4-9/10"}),
        (206, {"content-range": "bytes -4/10"}),
        (206, {"content-range": "nonsense"}),
    ],
)
def test_another_part_than_was_asked_for_begins_anew(status: int, headers: dict[str, str]) -> None:
    if headers.get("content-range") == "bytes 4-9/010":
        assert write_offset(status, headers, asked=4, file=FILE) == 4
        return
    with pytest.raises(StalePartial):
        write_offset(status, headers, asked=4, file=FILE)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"content-type": "text/html; charset=utf-8"}),
        (206, {"content-type": "Text/HTML"}),
        (200, {"content-length": "11"}),
        (200, {"content-length": "0"}),
        (204, {}),
        (404, {}),
    ],
)
def test_what_is_not_the_file_is_refused(status: int, headers: dict[str, str]) -> None:
    with pytest.raises(HubFailed):
        write_offset(status, headers, asked=0, file=FILE)


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["content-range", "content-length", "content-type", "content-encoding"]),
        st.text(alphabet="bytes 0123456789-/*html", max_size=20),
    ),
    st.integers(0, 10),
)
def test_no_answer_leads_to_another_place_in_the_file(
    status: int, headers: dict[str, str], asked: int
) -> None:
    try:
        offset = write_offset(status, headers, asked=asked, file=FILE)
    except (HubFailed, StalePartial):
        return

    assert offset in (0, asked)


class Body:
    """A stream of given pieces; an exception among them is raised."""

    status = 200
    headers: dict[str, str] = {}  # noqa: RUF012 - the Protocol wants an attribute

    def __init__(self, *pieces: bytes | Exception, offset: int = 0) -> None:
        self._pieces = pieces
        if offset:
            self.status = 206
            self.headers = {"content-range": f"bytes {offset}-9/10"}

    def chunks(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


class TestFetch:
    def fetch(self, tmp_path: Path, bodies: list[Body]) -> tuple[bytes, list[float]]:
        waits: list[float] = []

        def open_stream(_offset: int) -> AbstractContextManager[Body]:
            return nullcontext(bodies.pop(0))

        partial = tmp_path / "m.incomplete"
        fetch(open_stream, partial, FILE, lambda *_: None, wait=waits.append)
        return partial.read_bytes(), waits

    def test_a_body_that_ends_early_without_an_error_is_continued(self, tmp_path: Path) -> None:
        body, waits = self.fetch(tmp_path, [Body(b"0123"), Body(b"456789", offset=4)])

        assert (body, waits) == (b"0123456789", [0.0])

    def test_it_waits_longer_each_time_that_nothing_comes(self, tmp_path: Path) -> None:
        lost = [Body(ConnectionLost("cut")) for _ in RETRY_DELAYS_S]

        body, waits = self.fetch(tmp_path, [*lost, Body(b"0123456789")])

        assert body == b"0123456789"
        assert tuple(waits) == RETRY_DELAYS_S

    def test_it_gives_up_after_the_last_wait(self, tmp_path: Path) -> None:
        lost = [Body(ConnectionLost("cut")) for _ in range(len(RETRY_DELAYS_S) + 1)]

        with pytest.raises(HubUnreachable) as caught:
            self.fetch(tmp_path, lost)

        assert not isinstance(caught.value, DownloadBroken)

    def test_what_has_come_is_kept_and_told(self, tmp_path: Path) -> None:
        lost = [Body(b"0123", ConnectionLost("cut"))]
        lost += [Body(ConnectionLost("cut"), offset=4) for _ in RETRY_DELAYS_S]

        with pytest.raises(DownloadBroken, match="4 of 10 bytes"):
            self.fetch(tmp_path, lost)

        assert (tmp_path / "m.incomplete").read_bytes() == b"0123"

    def test_an_empty_file_is_a_file(self, tmp_path: Path) -> None:
        empty = RemoteFile("empty.json", 0)
        partial = tmp_path / "e.incomplete"

        fetch(lambda _: nullcontext(Body()), partial, empty, lambda *_: None)

        assert partial.read_bytes() == b""

    def test_a_missing_file_is_never_intact(self, tmp_path: Path) -> None:
        assert not is_intact(tmp_path / "gone", RemoteFile("gone", 0))
        assert not is_intact(tmp_path, RemoteFile("folder", tmp_path.stat().st_size))


class TestRedirects:
    HEADERS = {"authorization": "Bearer secret", "range": "bytes=5-"}  # noqa: RUF012

    def test_the_token_stays_with_its_origin(self) -> None:
        url, headers = redirected("https://hub.example/a", "/b", self.HEADERS)

        assert (url, headers) == ("https://hub.example/b", self.HEADERS)

    @pytest.mark.parametrize(
        "location",
        [
            "https://cdn.example/b",
            "https://hub.example:444/b",
            "https://hub.example.evil.example/b",
            "//cdn.example/b",
        ],
    )
    def test_the_token_goes_nowhere_else(self, location: str) -> None:
        _, headers = redirected("https://hub.example/a", location, self.HEADERS)

        assert headers == {"range": "bytes=5-"}

    @pytest.mark.parametrize(
        "location", ["http://hub.example/b", "http://169.254.169.254/", "file:///etc/passwd", "x:y"]
    )
    def test_a_redirect_off_the_safe_way_is_refused(self, location: str) -> None:
        with pytest.raises(HubFailed):
            redirected("https://hub.example/a", location, self.HEADERS)

    def test_an_inner_mirror_without_https_may_redirect(self) -> None:
        url, _ = redirected("http://mirror.local/a", "http://files.local/b", self.HEADERS)

        assert url == "http://files.local/b"
