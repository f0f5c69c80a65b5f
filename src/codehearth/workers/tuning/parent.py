"""What passes between the trainer and the command that started it: lines, refusals, the stop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import Any


class Refused(Exception):
    """What is wrong with the job, for the user: `kind` is an error class of the house."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Voice:
    """Says what happens, on the standard output that libraries cannot reach."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._is_first = int(os.environ.get("RANK", "0")) == 0
        os.dup2(2, 1)  # what libraries print goes to the log
        sys.stdout = sys.stderr

    def __call__(self, **line: Any) -> None:
        if self._is_first:
            with contextlib.suppress(BrokenPipeError):
                self._out.write(json.dumps(line) + "\n")
                self._out.flush()


class Stop:
    """Whether somebody asked the training to end after this step (SIGTERM, SIGINT)."""

    def __init__(self) -> None:
        self.is_asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.is_asked = True
