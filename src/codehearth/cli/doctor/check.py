"""One line of the report of `hearth doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """What was looked at, what is so, and what to do where it is not well."""

    name: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    hint: str | None = None
