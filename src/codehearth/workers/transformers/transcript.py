"""From token ids to text that can be sent: whole characters only, and nothing of a stop string.

Text never splits a character: what a token leaves unfinished is held back until the next ones
finish it, and dropped where none comes. What may be the beginning of a stop string is held back
too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
_MAX_HELD_TOKENS = 32  # a model that writes nonsense may never finish a character


class Transcript:
    """The text of one answer as its tokens come."""

    def __init__(
        self, tokenizer: Any, stops: Sequence[str] = (), prompt: Sequence[int] = ()
    ) -> None:
        """`prompt`'s last tokens decide how the first one is read: some leave out its space."""
        self._tokenizer = tokenizer
        self._stops = tuple(stop for stop in stops if stop)
        self._ids = list(prompt[-8:])
        self._start = 0  # of the window that is decoded
        self._read = len(self._ids)  # the tokens before it have been turned into text
        self._held = ""
        self.is_stopped = False

    def take(self, token: int) -> str:
        """The text that can be sent now that `token` has come."""
        self._ids.append(token)
        before = self._decoded(self._ids[self._start : self._read])
        after = self._decoded(self._ids[self._start :])
        is_held_long = len(self._ids) - self._read > _MAX_HELD_TOKENS
        if len(after) <= len(before) or (after.endswith(_UNFINISHED) and not is_held_long):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return self._sendable(after[len(before) :])

    def finish(self) -> str:
        """What was held back and is no beginning any more."""
        before = self._decoded(self._ids[self._start : self._read])
        after = self._decoded(self._ids[self._start :])[len(before) :]
        rest = self._sendable(after.rstrip(_UNFINISHED))
        if self.is_stopped:
            return rest
        rest, self._held = rest + self._held, ""
        return rest

    def _sendable(self, text: str) -> str:
        """`text` behind what is held, without stop strings and what may become one."""
        text = self._held + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.is_stopped = True
            self._held = ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _decoded(self, ids: Sequence[int]) -> str:
        # Cleaning up would take spaces before punctuation away: code is not prose.
        return str(
            self._tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


class Pieces:
    """What single tokens are, as text and as bytes, for log-probabilities."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._bytes = _bytes_by_letter()

    def of(self, token: int) -> tuple[str, list[int]]:
        """The token's text, with what is no character replaced, and its bytes."""
        name = self._tokenizer.convert_ids_to_tokens(token)
        raw = self._raw(name if isinstance(name, str) else "")
        return raw.decode("utf-8", "replace"), list(raw)

    def _raw(self, name: str) -> bytes:
        if name.startswith("<0x") and name.endswith(">") and len(name) == 6:
            return bytes.fromhex(name[3:5])
        if name in self._tokenizer.all_special_tokens:
            return name.encode()
        letters = [self._bytes.get(letter) for letter in name]
        if None not in letters and "▁" not in name:
            return bytes(byte for byte in letters if byte is not None)
        return name.replace("▁", " ").encode()


def _bytes_by_letter() -> dict[str, int]:
    """The letters that stand for bytes in every byte-level BPE since GPT-2."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(byte): byte for byte in plain}
    spare = 256
    for byte in range(256):
        if byte not in plain:
            letters[chr(spare)] = byte
            spare += 1
    return letters
