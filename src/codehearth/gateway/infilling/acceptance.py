"""Which suggestions were shown, taken and sent away: counted for each model and language.

Editors tell it by Tabby's events or by our own route; an answer's id says which suggestion. The
counts live in the metrics: they say how good a model is for the people who use it now, and begin
anew with the server.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Literal

from codehearth.gateway.metrics import Metrics

Fate = Literal["shown", "accepted", "dismissed"]
_MAX_REMEMBERED = 8192


@dataclass
class _Suggestion:
    model: str
    language: str
    owner: str
    fates: set[Fate]


class Acceptance:
    """The suggestions of late, and the counts of what became of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._suggestions: OrderedDict[str, _Suggestion] = OrderedDict()
        self._by_model: Counter[tuple[str, Fate]] = Counter()

    def remember(self, suggestion_id: str, *, model: str, language: str, owner: str) -> None:
        self._suggestions[suggestion_id] = _Suggestion(model, language, owner, set())
        while len(self._suggestions) > _MAX_REMEMBERED:
            self._suggestions.popitem(last=False)

    def count(self, suggestion_id: str, fate: Fate, *, owner: str) -> bool:
        """Counts what became of a suggestion; False where the owner was given none of this id.

        Each fate of a suggestion counts once: an editor may show one several times, and take it
        line by line.
        """
        suggestion = self._suggestions.get(suggestion_id)
        if suggestion is None or suggestion.owner != owner:
            return False
        if fate not in suggestion.fates:
            suggestion.fates.add(fate)
            self._by_model[suggestion.model, fate] += 1
            self._metrics.suggestions.labels(suggestion.model, suggestion.language, fate).inc()
        return True

    def of_model(self, model: str) -> dict[str, int]:
        """How many suggestions of a model were shown, accepted and dismissed."""
        fates: tuple[Fate, ...] = ("shown", "accepted", "dismissed")
        return {fate: self._by_model[model, fate] for fate in fates}
