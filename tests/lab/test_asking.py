"""An engine that dies, hangs or writes nonsense while the lab asks it: told with its last lines."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from codehearth.errors import EngineFailed
from codehearth.lab.asking import Asker, client_of, said_by
from tests.engines.children import child

BODY = {"prompt": "x", "max_tokens": 4}


async def _asked(*flags: str, stopped: bool = False) -> None:
    async with child(*flags) as process, client_of(await process.ensure_ready()) as client:
        if stopped:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
        await Asker(process, client, look_every_s=0.01, look_s=0.5).ask("/v1/completions", BODY)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--do", "die-mid-stream"), "was killed by SIGKILL"),
        (("--do", "error-500"), "refused /v1/completions: fake failure"),
        (("--do", "bad-json"), "no JSON"),
        (("--do", "cut"), "broke off"),
    ],
)
def test_what_goes_wrong_is_told_with_the_last_lines(flags: tuple[str, ...], told: str) -> None:
    with pytest.raises(EngineFailed, match=told) as failed:
        asyncio.run(_asked(*flags))

    assert "listening" in failed.value.log_tail
    assert failed.value.hint


def test_a_child_that_hangs_is_noticed_while_it_is_asked() -> None:
    """SIGSTOP: it neither answers nor dies. Without this a comparison waited for ten minutes."""
    with pytest.raises(EngineFailed, match="hangs") as failed:
        asyncio.run(_asked(stopped=True))

    assert "listening" in failed.value.log_tail


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": {"message": "no"}}, "no"),
        ({"error": "no"}, "no"),
        ({"message": "no"}, "no"),
    ],
)
def test_an_error_is_read_in_every_engines_shape(answer: dict[str, object], said: str) -> None:
    assert said_by(answer) == said
