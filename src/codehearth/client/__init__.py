"""A small client of any OpenAI-shaped server: ours, or another one.

Used by the command line, and by whatever else speaks to a server from outside. It knows `wire` and
the errors and nothing else of the house.
"""

from codehearth.client.answers import Answer, LiveModel, ModelCard, Piece, Usage, gathered
from codehearth.client.client import Client, is_loopback

__all__ = [
    "Answer",
    "Client",
    "LiveModel",
    "ModelCard",
    "Piece",
    "Usage",
    "gathered",
    "is_loopback",
]
