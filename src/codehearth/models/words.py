"""How numbers are said to people."""

from __future__ import annotations


def in_bytes(num_bytes: int) -> str:
    """`11.2 GiB`; below one GiB in whole MiB.

    >>> in_bytes(12_025_908_429)
    '11.2 GiB'
    """
    if num_bytes < 1 << 30:
        return f"{num_bytes / (1 << 20):.0f} MiB"
    return f"{num_bytes / (1 << 30):.1f} GiB"


def in_slots(num_slots: int) -> str:
    return "1 slot" if num_slots == 1 else f"{num_slots} slots"
