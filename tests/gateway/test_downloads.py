"""Downloads are asked for, paused and resumed by several people at the same moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

from codehearth.gateway.page.archive import Archive
from codehearth.gateway.page.downloads import Downloads, Stopped
from codehearth.models.local_models import LocalModel
from codehearth.models.progress import Progress, ProgressCallback
from codehearth.models.store import Store

MODEL = "qwen2.5-coder-0.5b:q8_0"


class SlowStore:
    """A hub whose line gives nothing: each pull reports until it is told to stop."""

    def __init__(self) -> None:
        self.num_pulling = 0
        self.most_pulling = 0
        self._lock = threading.Lock()

    def pull(self, _: str, *, progress: ProgressCallback) -> LocalModel:
        with self._lock:
            self.num_pulling += 1
            self.most_pulling = max(self.most_pulling, self.num_pulling)
        try:
            while True:
                progress(Progress(stage="download", done_bytes=1, total_bytes=2))
                threading.Event().wait(0.005)
        except Stopped:
            with self._lock:
                self.num_pulling -= 1
            raise

    def discard(self, _: str) -> int:
        return 0


def told(tmp_path: Path, story: Any) -> SlowStore:
    """Runs a story with downloads on real records."""
    store = SlowStore()

    async def run() -> None:
        archive = Archive(tmp_path / "data")
        downloads = Downloads(cast(Store, store), archive)
        await downloads.open()
        try:
            async with asyncio.timeout(30):
                await cast(Coroutine[Any, Any, None], story(downloads))
        finally:
            await downloads.close()
            archive.close()

    asyncio.run(run())
    return store


def test_two_who_want_a_model_at_once_get_one_download(tmp_path: Path) -> None:
    async def story(downloads: Downloads) -> None:
        (first, is_new), (second, is_second_new) = await asyncio.gather(
            downloads.start(MODEL), downloads.start(MODEL)
        )

        assert first is second and (is_new, is_second_new) == (True, False)

    assert told(tmp_path, story).most_pulling <= 1


def test_a_download_may_be_paused_before_it_has_begun(tmp_path: Path) -> None:
    async def story(downloads: Downloads) -> None:
        starting = asyncio.ensure_future(downloads.start(MODEL))
        while not downloads.all():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)

        await downloads.pause(downloads.all()[0].id)
        pull, _ = await starting

        assert pull.state == "paused"

    told(tmp_path, story)


def test_resuming_an_old_download_goes_on_with_the_newer_one_of_the_same_model(
    tmp_path: Path,
) -> None:
    async def story(downloads: Downloads) -> None:
        old, _ = await downloads.start(MODEL)
        await downloads.cancel(old.id)
        while old.is_active:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        newer, _ = await downloads.start(MODEL)

        assert await downloads.resume(old.id) is newer
        assert old.state == "cancelled"

    assert told(tmp_path, story).most_pulling <= 1
