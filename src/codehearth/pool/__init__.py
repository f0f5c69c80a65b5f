"""Which models live now: loading, waiting, evicting, watching. `design.md` is the tutorial."""

from codehearth.pool.child import Child, ModelFacts, OpenModel, OpenModelCall, Room
from codehearth.pool.lease import Lease
from codehearth.pool.limits import Limits
from codehearth.pool.pool import Pool
from codehearth.pool.status import Counters, ModelStatus

__all__ = [
    "Child",
    "Counters",
    "Lease",
    "Limits",
    "ModelFacts",
    "ModelStatus",
    "OpenModel",
    "OpenModelCall",
    "Pool",
    "Room",
]
