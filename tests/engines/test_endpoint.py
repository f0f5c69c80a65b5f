"""Places of sockets, and the small questions that are asked there."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from codehearth.engines.endpoint import Endpoint, Place, get


def test_a_socket_path_fits_the_system_wherever_the_temporary_folder_is(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()

    place = Place.make(deep)

    assert len(os.fsencode(place.endpoint.socket_path or "")) <= 100
    place.remove()


def test_a_place_may_be_removed_twice(tmp_path: Path) -> None:
    place = Place.make(tmp_path)

    place.remove()
    place.remove()

    assert not place.folder.exists()


def test_a_link_in_the_temporary_folder_is_not_followed_when_sweeping(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    root = tmp_path / "t"
    root.mkdir()
    (root / "hearth-engine-link").symlink_to(precious)

    Place.make(root).remove()

    assert (precious / "file").exists()


def test_servers_that_start_at_once_leave_each_other_their_places(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as servers:
        places = list(servers.map(lambda _: Place.make(tmp_path), range(200)))

    assert len({place.folder for place in places}) == 200
    assert all(place.folder.is_dir() for place in places)
    for place in places:
        place.remove()


def test_nobody_listening_is_an_os_error(tmp_path: Path) -> None:
    endpoint = Endpoint(tmp_path / "none.sock", "http://engine", "key")

    with pytest.raises(OSError, match="No such file"):
        asyncio.run(get(endpoint, "/health", timeout_s=5))


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"x" * (2 << 20)]
)
def test_an_answer_that_is_no_http_is_an_os_error(answer: bytes) -> None:
    async def story() -> None:
        async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(lie, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        endpoint = Endpoint(None, f"http://127.0.0.1:{port}", "key")
        try:
            with pytest.raises(OSError, match=r"engine|reset|closed|Broken pipe"):
                await get(endpoint, "/health", timeout_s=30)
        finally:
            server.close()
            await server.wait_closed()

    asyncio.run(story())


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    """A sweep once removed every folder whose name began like ours, with all that was in it."""
    theirs = tmp_path / "hearth-engine-notes"
    theirs.mkdir()
    (theirs / "diary.txt").write_text("mine")
    other = tmp_path / "hearth-project"
    other.mkdir()

    Place.make(tmp_path).remove()

    assert (theirs / "diary.txt").read_text() == "mine"
    assert other.is_dir()
