"""Large requests, of which a read may bring all at once."""

from __future__ import annotations

import pytest

from tests.gateway.served import Served


@pytest.mark.parametrize("num_bytes", [70_000, 100_000, 250_000, 1_000_000])
def test_a_body_larger_than_a_header_may_be_is_no_large_header(
    server: Served, num_bytes: int
) -> None:
    """A request that arrived in one read was counted as the next one's header: 431."""
    messages = [{"role": "user", "content": "x" * num_bytes}]

    for _ in range(3):
        status, answer = server.post("/v1/chat/completions", {"messages": messages})
        assert status == 200, answer
