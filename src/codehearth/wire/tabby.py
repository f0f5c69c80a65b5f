"""The shapes of Tabby's clients: a completion's segments, and what became of a suggestion.

Source: the types of Tabby's own clients. Bounds marked "ours" are limits of this server.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from codehearth.wire.requests import KeepAlive, ModelId, Shape

MAX_SNIPPETS = 256  # ours

Path = Annotated[str, Field(max_length=4096)]


class SnippetShape(Shape):
    filepath: Path = ""
    body: str
    score: float | None = None


Snippets = Annotated[list[SnippetShape], Field(max_length=MAX_SNIPPETS)]


class Segments(Shape):
    """`clipboard` and `edit_history` are what Tabby's other mode needs; they are not used here."""

    prefix: str
    suffix: str | None = None
    filepath: Path | None = None
    git_url: Annotated[str, Field(max_length=4096)] | None = None
    declarations: Snippets | None = None
    relevant_snippets_from_changed_files: Snippets | None = None
    relevant_snippets_from_recently_opened_files: Snippets | None = None

    @property
    def snippets(self) -> list[SnippetShape]:
        """Declarations last: what stands nearest to the cursor counts most with most models."""
        return [
            *(self.relevant_snippets_from_recently_opened_files or ()),
            *(self.relevant_snippets_from_changed_files or ()),
            *(self.declarations or ()),
        ]


class SegmentsRequest(Shape):
    """Tabby's `POST /v1/completions`."""

    segments: Segments
    language: Annotated[str, Field(max_length=64)] | None = None
    user: Annotated[str, Field(max_length=256)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None
    mode: Literal["standard", "next_edit_suggestion"] | None = None
    model: ModelId | None = None
    keep_alive: KeepAlive | None = None


class SuggestionEvent(Shape):
    """`POST /v1/events`: a suggestion was shown, taken (wholly or a line of it) or sent away."""

    type: Annotated[str, Field(max_length=64)]
    completion_id: Annotated[str, Field(max_length=128)]
    choice_index: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    select_kind: Annotated[str, Field(max_length=64)] | None = None
    view_id: Annotated[str, Field(max_length=256)] | None = None
    elapsed: Annotated[int, Field(ge=-(2**31), le=2**53)] | None = None
