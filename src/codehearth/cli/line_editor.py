"""Lines from a terminal, with editing, history and completion where Python has readline."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from codehearth.cli.output import say

_MAX_LINES = 1000
_FENCE = '"""'


class LineEditor:
    """Asks for lines. `history_file` keeps them for the next time, readable by its owner only."""

    def __init__(self, history_file: Path, *, words: Sequence[str]) -> None:
        self._file = history_file
        self._words = words
        self._readline: Any = None

    def __enter__(self) -> Self:
        with suppress(ImportError):
            import readline

            self._readline = readline
            with suppress(OSError):
                readline.read_history_file(self._file)
            readline.set_history_length(_MAX_LINES)
            readline.set_completer(self._complete)
            readline.set_completer_delims(" \n")
            is_libedit = "libedit" in (readline.__doc__ or "")  # macOS
            readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._readline is None:
            return
        self._readline.set_completer(None)
        with suppress(OSError):  # a history that cannot be kept is no reason to fail
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)
            finally:
                os.close(descriptor)
            self._readline.write_history_file(self._file)

    def lines(self) -> Iterator[str]:
        """Line after line until Ctrl-D; a text between triple quotes counts as one.

        A Ctrl-C drops what was typed; a second one in a row is passed on.
        """
        was_interrupted = False
        while True:
            try:
                yield self._whole(input(">>> "))
                was_interrupted = False
            except EOFError:
                say("")
                return
            except KeyboardInterrupt:
                if was_interrupted:
                    raise
                was_interrupted = True
                say("\n(once more, or Ctrl-D, leaves)")

    def _whole(self, line: str) -> str:
        if not line.lstrip().startswith(_FENCE):
            return line
        text = line.lstrip().removeprefix(_FENCE)
        while not text.rstrip().endswith(_FENCE):
            text += "\n" + input("... ")
        return " " + text.rstrip().removesuffix(_FENCE).strip("\n")

    def _complete(self, text: str, state: int) -> str | None:
        """The commands, at the beginning of a line; a tab anywhere else does nothing."""
        if self._readline is None or self._readline.get_begidx() != 0:
            return None
        found = [word + " " for word in self._words if word.startswith(text)]
        return found[state] if state < len(found) else None
