"""Code of callers, run in the sandbox beside the event loop: a few at a time, never unprotected.

A caller who leaves ends its program. Who would have to wait too long is refused.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from codehearth.errors import Overloaded, Unsupported
from codehearth.lab.judging.judge import judge
from codehearth.lab.judging.verdict import Verdict
from codehearth.lab.sandbox import Limits, Outcome, Program, Protection, require_protection, run
from codehearth.lab.sandbox.interpreters import python_for

_MAX_WAITING = 32
_MEMORY_BYTES = 256 << 20
_DISK_BYTES = 16 << 20
_OUTPUT_BYTES = 32 << 10
_Made = TypeVar("_Made")


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, os.cpu_count() or 1), thread_name_prefix="sandbox")


@dataclass
class Sandboxed:
    """`is_allowed`: whether the operator lets callers run code at all."""

    is_allowed: bool
    _executor: ThreadPoolExecutor = field(default_factory=_threads)
    num_under_way: int = 0

    async def protection(self) -> Protection:
        """What code is run in; raises Unsupported where that is forbidden or impossible."""
        if not self.is_allowed:
            raise Unsupported(
                "This server runs no code.", hint="an administrator can allow it: run_code = true"
            )
        return await asyncio.to_thread(require_protection)

    async def judge(self, code: str, tests: str, *, time_s: float) -> Verdict:
        protection, limits = await self.protection(), _limits(time_s)
        return await self._do(
            lambda stop: judge(code, tests, limits=limits, protection=protection, stop=stop)
        )

    async def run_python(self, code: str, stdin: str, *, time_s: float) -> Outcome:
        """A program of one file, as `python code.py` would run it."""
        protection, limits = await self.protection(), _limits(time_s)
        argv = (str(python_for(protection)), "-I", "-S", "-X", "utf8", "{files}/code.py")
        program = Program(argv, {"code.py": code}, stdin)
        return await self._do(lambda stop: run(program, limits, protection, stop))

    async def _do(self, work: Callable[[threading.Event], _Made]) -> _Made:
        if self.num_under_way >= _MAX_WAITING:
            raise Overloaded("Too much code waits to be run.", retry_after_s=5)
        self.num_under_way += 1
        stop = threading.Event()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, work, stop)
        finally:
            stop.set()
            self.num_under_way -= 1

    def close(self) -> None:
        """Waits for the programs that run; each ends with its caller or at its limit."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def _limits(time_s: float) -> Limits:
    return Limits(
        time_s=time_s,
        memory_bytes=_MEMORY_BYTES,
        disk_bytes=_DISK_BYTES,
        output_bytes=_OUTPUT_BYTES,
    )
