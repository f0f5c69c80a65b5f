"""What an editor asks for, in whatever dialect, and what becomes of it beside its text."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from codehearth.gateway.infilling.clients import Client
from codehearth.gateway.infilling.suggestions import Keystroke
from codehearth.gateway.shown import told as names_of
from codehearth.repo.context import Found
from codehearth.text.fim import Fim, Fitted
from codehearth.wire.requests import CompletionRequest


@dataclass(frozen=True)
class Infill:
    """What an editor asks. `asked` holds sampling, length, stops and the number of choices."""

    model: str
    fim: Fim
    asked: CompletionRequest
    client: Client
    needs_suffix: bool = False
    """The client knows that it asked for a middle: a model that cannot is refused."""
    ends_with_block: bool = True
    """Cut where the block ends; else the answer is the model's until a stop or the length."""
    has_optional_choices: bool = False
    """The client takes fewer choices than it asked for."""
    is_warm_up: bool = False
    """Only the cache is filled."""
    max_predict_ms: int | None = None
    samplers: tuple[str, ...] | None = None
    keep_alive_s: float | None = None
    repository: str | None = None
    """Named by the client; else the one that the file is of."""
    git_url: str | None = None
    arrived_at: float = field(default_factory=time.monotonic)

    @property
    def is_steady(self) -> bool:
        """Whether asking again gives the same answer."""
        return not self.asked.temperature or self.asked.seed is not None

    @property
    def language_name(self) -> str:
        return self.fim.language.name if self.fim.language else "unknown"

    @property
    def uses_crlf(self) -> bool:
        return "\r\n" in self.fim.prefix or "\r\n" in self.fim.suffix


@dataclass
class Notes:
    """What became of a request beside its text: for headers, and for dialects that show it."""

    cut: Fitted | None = None
    shown: tuple[Found, ...] = ()
    """Of the repository."""
    is_suffix_left_out: bool = False
    context_tokens: int = 0
    keystroke: Keystroke | None = None

    @property
    def is_cut(self) -> bool:
        return self.cut is not None and self.cut.is_cut

    def headers(self) -> Mapping[str, str]:
        told = dict(names_of(self.shown))
        if self.is_cut:
            told["x-hearth-cut"] = str(self.cut)
        if self.is_suffix_left_out:
            told["x-hearth-suffix"] = "left out: this model cannot infill"
        if self.keystroke is not None and self.keystroke.is_recalled:
            told["x-hearth-recalled"] = "1"
        if self.keystroke is not None and self.keystroke.is_overtaken:
            told["x-hearth-overtaken"] = "1"
        return told
