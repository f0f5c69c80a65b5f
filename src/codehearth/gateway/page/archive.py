"""The records of a running server, behind one thread of their own.

SQLite may have to wait: for another process, for a slow disk. So nothing of it runs in the loop,
and what waits there does not take the threads that look for models. One thread also means that
what is asked first is done first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from codehearth.records.conversations import Conversations
from codehearth.records.database import open_database
from codehearth.records.preferences import Preferences
from codehearth.records.pulls import Pulls
from codehearth.records.sessions import Sessions
from codehearth.records.votes import Votes

_BUSY_S = 2.0
_Asked = ParamSpec("_Asked")
_Answered = TypeVar("_Answered")


class Archive:
    """All tables but the keys, over one connection. Call what they offer through `do`."""

    def __init__(self, data_folder: Path) -> None:
        self._connection = open_database(data_folder, busy_s=_BUSY_S)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="records")
        self.conversations = Conversations(self._connection)
        self.votes = Votes(self._connection)
        self.preferences = Preferences(self._connection)
        self.pulls = Pulls(self._connection)
        self.sessions = Sessions(self._connection)

    async def do(
        self,
        work: Callable[_Asked, _Answered],
        *args: _Asked.args,
        **options: _Asked.kwargs,
    ) -> _Answered:
        """The result of one call of the tables, made in their thread."""
        call = partial(work, *args, **options)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def close(self) -> None:
        """Waits for what is being written."""
        self._thread.shutdown(wait=True)
        self._connection.close()
