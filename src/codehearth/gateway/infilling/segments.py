"""Tabby's completion: its segments as a `Fim`, and the answer as its clients read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codehearth.errors import HearthError, Unsupported
from codehearth.gateway.answering import Usage
from codehearth.gateway.engine.chunks import Piece, text_of
from codehearth.gateway.replies import error_body
from codehearth.text.fim import Fim, Snippet
from codehearth.text.languages import language_named, language_of_file
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.requests import CompletionRequest
from codehearth.wire.tabby import SegmentsRequest


def fim_of_segments(asked: SegmentsRequest) -> Fim:
    """Raises Unsupported for Tabby's other mode.

    A language that is not known is no error here: the editor sends the name of any file type, and
    a refusal would take the suggestions from all plain text.
    """
    if asked.mode == "next_edit_suggestion":
        raise Unsupported(
            "This server completes at the cursor; it does not predict the next edit.",
            param="mode",
            hint="leave out 'mode'",
        )
    segments = asked.segments
    return Fim(
        prefix=segments.prefix,
        suffix=segments.suffix or "",
        path=segments.filepath,
        language=language_named(asked.language) or language_of_file(segments.filepath),
        repository=_repository_of(segments.git_url),
        snippets=tuple(Snippet(each.filepath or None, each.body) for each in segments.snippets),
    )


def sampling_of_segments(asked: SegmentsRequest) -> CompletionRequest:
    seed = None if asked.seed is None else asked.seed % 2**63
    return CompletionRequest(temperature=asked.temperature, seed=seed)


class TabbyDialect:
    """`{id, choices: [{index, text}]}`, always whole."""

    content_type = "application/json"

    def __init__(self, suggestion_id: str) -> None:
        self._id = suggestion_id

    def opening(self, index: int) -> bytes:
        return b""

    def piece(self, index: int, piece: Piece) -> bytes:
        return b""

    def closing(self, usages: Sequence[Usage]) -> bytes:
        return b""

    def whole(self, choices: Sequence[Sequence[Piece]], usages: Sequence[Usage]) -> Any:
        made = [{"index": i, "text": text_of(pieces)} for i, pieces in enumerate(choices)]
        return {"id": self._id, "choices": made}

    def error(self, error: HearthError) -> bytes:
        return dump_json(error_body(error))


def _repository_of(git_url: str | None) -> str | None:
    """`https://github.com/org/name.git` as `name`: what models were shown in training."""
    name = (git_url or "").rstrip("/").replace(":", "/").rpartition("/")[2].removesuffix(".git")
    return name or None
