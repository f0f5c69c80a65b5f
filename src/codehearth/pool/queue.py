"""Who is next: first come, first served for each owner, and owners take turns.

Pure data, no waiting: somebody with fifty requests in the queue does not push back somebody with
one. Putting in, taking out and leaving early cost the same however long the queue is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items by owner and ticket. Tickets grow: a later one has the higher number."""

    def __init__(self) -> None:
        # The order of owners is the order of their turns; an owner without items is not in it.
        self._owners: OrderedDict[str, OrderedDict[int, Item]] = OrderedDict()
        self._num_items = 0

    def __len__(self) -> int:
        return self._num_items

    def push(self, owner: str, ticket: int, item: Item) -> None:
        self._owners.setdefault(owner, OrderedDict())[ticket] = item
        self._num_items += 1

    def remove(self, owner: str, ticket: int) -> bool:
        """Take one out who does not want to wait any more; False if it is not here."""
        line = self._owners.get(owner)
        if line is None or line.pop(ticket, None) is None:
            return False
        self._num_items -= 1
        if not line:
            del self._owners[owner]
        return True

    def pop(self, *, before: int | None = None) -> Item | None:
        """The next in turn, of those whose ticket is below `before`; None if there is none."""
        for owner, line in self._owners.items():
            ticket, item = next(iter(line.items()))
            if before is None or ticket < before:
                self.remove(owner, ticket)
                if owner in self._owners:
                    self._owners.move_to_end(owner)
                return item
        return None

    def has(self, *, before: int | None) -> bool:
        """Whether somebody is here whose ticket is below `before`."""
        oldest = self.oldest_ticket()
        return oldest is not None and (before is None or oldest < before)

    def oldest_ticket(self) -> int | None:
        return min((next(iter(line)) for line in self._owners.values()), default=None)

    def oldest(self) -> Item | None:
        """The item with the lowest ticket, whoever's turn it is."""
        lines = self._owners.values()
        line = min(lines, key=lambda line: next(iter(line)), default=None)
        return next(iter(line.values())) if line else None
