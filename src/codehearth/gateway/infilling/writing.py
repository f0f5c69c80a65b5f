"""One middle while it is written: its prompt once the model is known, and where its text ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from codehearth.errors import Unsupported
from codehearth.gateway.engine.chunks import TIMED, Piece
from codehearth.gateway.engine.upstream import completion_body, fim_of
from codehearth.gateway.infilling.fitting import fitted_to
from codehearth.gateway.infilling.infill import Infill, Notes
from codehearth.gateway.infilling.layout import Layout, continued, laid_out
from codehearth.pool.child import ModelFacts
from codehearth.text.endings import Cutter, ending_of
from codehearth.text.fim import Fim
from codehearth.text.fim_formats import FIM_FORMATS

DEFAULT_TOKENS = 512
"""Where a client sets no limit: the end of the block is one, and this is for what has none."""
_OTHER_TEMPERATURE = 0.6
_MARGIN_TOKENS = 32


class Writing:
    """One choice of one request. `number` is the choice's; the first is the likeliest text."""

    def __init__(
        self, infill: Infill, notes: Notes, number: int, characters_per_token: float
    ) -> None:
        self._infill = infill
        self._notes = notes
        self._number = number
        self._characters_per_token = characters_per_token
        self._cutter: Cutter | None = None
        self._forced = ""
        self._num_forced_tokens = 0
        self._num_pieces = 0
        self._max_tokens = 0
        self.prompt = ""
        self.num_prompt_tokens = 0
        self.is_done = False

    # --- What the engine is asked ---

    def body(self, facts: ModelFacts) -> Mapping[str, Any]:
        """The engine's request; called when the model is in memory."""
        if facts.weights.is_embedding_model:
            raise Unsupported("This model makes embeddings; it does not complete.", param="model")
        fim, format_name = self._fitted(facts), fim_of(facts)
        if format_name is None and not self._infill.needs_suffix:
            self._notes.is_suffix_left_out = bool(fim.suffix)
            layout = continued(fim, facts, may_force=self._may_force)
        else:
            layout = laid_out(format_name, fim, facts, may_force=self._may_force)
        if self._infill.ends_with_block and not self._infill.is_warm_up:
            ending = ending_of(fim, format_name=format_name)
            self._cutter = Cutter(ending, fim.prefix, fim.suffix)
        if any(stop in layout.forced for stop in self._infill.asked.stops):
            layout = Layout(layout.prompt + layout.forced)
        self.prompt, self._forced = layout.prompt, layout.forced
        ends = FIM_FORMATS[format_name].ends if format_name else ()
        asked = self._infill.asked.model_copy(
            update={
                "suffix": None,
                "max_tokens": self._max_tokens + len(layout.forced),
                "temperature": self._temperature,
                "stop": [*self._infill.asked.stops, *ends],
                "grammar": (facts.takes_grammars and layout.grammar) or self._infill.asked.grammar,
            }
        )
        body = completion_body(asked, layout.prompt, facts, choice=self._number) | self._more()
        if layout.forced and not facts.takes_grammars:
            body["begins_with"] = layout.forced
        return body

    def _fitted(self, facts: ModelFacts) -> Fim:
        """What the context holds beside the answer, by the length of a token as it is known."""
        asked = self._infill.asked.max_tokens
        self._max_tokens = min(
            DEFAULT_TOKENS if asked is None else asked, facts.context_tokens // 2
        )
        room = facts.context_tokens - self._max_tokens - _MARGIN_TOKENS
        fitted = fitted_to(
            _with_line_feeds(self._infill.fim), int(room * self._characters_per_token)
        )
        self._notes.cut, self._notes.context_tokens = fitted, facts.context_tokens
        return fitted.fim

    def _more(self) -> dict[str, Any]:
        """What llama.cpp's routes know and OpenAI's do not."""
        more: dict[str, Any] = dict(TIMED)
        max_predict_ms, samplers = self._infill.max_predict_ms, self._infill.samplers
        if max_predict_ms is not None and max_predict_ms > 0:
            more["t_max_predict_ms"] = max_predict_ms
        if samplers:
            last = () if "temperature" in samplers else ("temperature",)
            more["samplers"] = [*samplers, *last]
        return more

    @property
    def _may_force(self) -> bool:
        """Not where the client has a grammar of its own, or wants the model's answer as it is."""
        return self._infill.ends_with_block and not self._infill.asked.grammar

    @property
    def _temperature(self) -> float:
        """Where none is asked for: the likeliest answer first, so that one place in a text has one
        suggestion; further choices differ."""
        if self._infill.asked.temperature is not None:
            return self._infill.asked.temperature
        return 0.0 if self._number == 0 else _OTHER_TEMPERATURE

    # --- What it answers ---

    def cut(self, batch: list[Piece]) -> Piece:
        """What arrived together as one piece, cut where the answer ends. `written` in its delta is
        all that the engine wrote, which is ahead of what can be sent."""
        written, usage = self._taken(batch)
        text = written
        finish_reason = next((p.finish_reason for p in batch if p.finish_reason), None)
        if finish_reason is None and self._is_long_enough(usage):
            self.is_done, finish_reason = True, "length"
        if self._cutter is not None:
            text = self._cutter.feed(text)
            if self._cutter.is_done:
                self.is_done, finish_reason = True, "stop"
            if finish_reason:
                text += self._cutter.finish()
        if self._infill.uses_crlf:
            text, written = text.replace("\n", "\r\n"), written.replace("\n", "\r\n")
        return Piece({"text": text, "written": written}, finish_reason=finish_reason, usage=usage)

    def _taken(self, batch: list[Piece]) -> tuple[str, dict[str, Any] | None]:
        """The batch's text and usage, without the forced beginning, which the client has already.

        A token that holds the end of what was forced and the beginning of what is new counts as
        new.
        """
        text, usage = "", None
        for piece in batch:
            part = str(piece.delta.get("text") or "")
            if piece.usage:
                usage = dict(piece.usage)
                if part and self._forced.startswith(part):
                    self._num_forced_tokens = int(usage.get("completion_tokens", 0))
            num_forced = min(len(part), len(self._forced))
            self._forced, part = self._forced[num_forced:], part[num_forced:]
            text += part
            self._num_pieces += bool(part)
        if usage is None and any(piece.finish_reason for piece in batch):
            usage = {"prompt_tokens": 0, "completion_tokens": self._num_pieces}
        if usage is not None:
            self.num_prompt_tokens = int(usage.get("prompt_tokens", 0))
            made = int(usage.get("completion_tokens", 0)) - self._num_forced_tokens
            usage["completion_tokens"] = max(0, made)
        return text, usage

    def _is_long_enough(self, usage: Mapping[str, Any] | None) -> bool:
        """Of a warm-up, the prompt must be read to its end."""
        if usage is None or self._infill.is_warm_up:
            return False
        return bool(usage["completion_tokens"] >= self._max_tokens)


def _with_line_feeds(fim: Fim) -> Fim:
    """Models are trained on `\\n`; the answer gets the editor's line ends back."""
    if "\r" not in fim.prefix and "\r" not in fim.suffix:
        return fim
    return replace(
        fim, prefix=fim.prefix.replace("\r\n", "\n"), suffix=fim.suffix.replace("\r\n", "\n")
    )
