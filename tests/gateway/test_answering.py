"""An answer that breaks off says so on the wire of its own dialect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, MutableMapping
from typing import Any

import pytest

from codehearth.errors import EngineFailed
from codehearth.gateway.answering import send_stream
from codehearth.gateway.dialects.ollama_answers import OllamaDialect
from codehearth.gateway.engine.chunks import Piece
from codehearth.gateway.streams import Writer


@pytest.mark.parametrize("error", [EngineFailed("The engine is gone."), RuntimeError("a secret")])
def test_a_line_of_ollama_tells_that_the_answer_broke_off(error: Exception) -> None:
    """A mistake of ours came as an event of OpenAI's: no client of Ollama could read that line."""
    sent: list[bytes] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message.get("body", b""))

    async def breaking() -> AsyncGenerator[tuple[int, list[Piece]], None]:
        yield 0, [Piece(delta={"text": "x"})]
        raise error

    dialect = OllamaDialect("fake", kind="generate")
    asyncio.run(send_stream(Writer(send), breaking(), dialect, num_choices=1, headers=dict))

    *_, last = (json.loads(line) for line in b"".join(sent).splitlines())
    assert list(last) == ["error"]
    assert "secret" not in last["error"]
