"""How Ollama's clients name models and times."""

from __future__ import annotations

from datetime import UTC, datetime

from codehearth.gateway.house import House


async def name_of(house: House, asked: str | None) -> str:
    """The model's own name; Ollama's clients add `:latest` to a name without a tag."""
    return await house.name_of(asked.removesuffix(":latest") if asked else None)


def rfc3339(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat().replace("+00:00", "Z")
