"""llama.cpp's own routes, as its editor clients use them: `/infill`, `/completion`, `/props`.

What is asked of the engine itself (`id_slot`, `cache_prompt`, `lora`, `t_max_prompt_ms`,
`n_indent`) is ignored: the house chooses slots, always keeps the cache, and ends an answer by its
syntax. `n_predict: 0` reads the prompt into the cache and answers nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth import __version__
from codehearth.errors import HearthError
from codehearth.gateway.answering import (
    Usage,
    answer_order,
)
from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import read_request
from codehearth.gateway.engine.chunks import (
    TIMED,
    CompletionFormat,
    Piece,
    finish_reason_of,
    text_of,
    timed_piece,
)
from codehearth.gateway.engine.generate import Choice, Order
from codehearth.gateway.engine.upstream import completion_body
from codehearth.gateway.house import house_of
from codehearth.gateway.infilling import fim
from codehearth.gateway.infilling.clients import client_of
from codehearth.gateway.infilling.infill import Infill, Notes
from codehearth.gateway.replies import JsonResponse, llama_cpp_error_body
from codehearth.gateway.streams import EVENT_STREAM, Generation
from codehearth.pool.child import ModelFacts
from codehearth.text.fim import Fim, Snippet, take_apart
from codehearth.text.languages import Language, language_of_file
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.llama_cpp import InfillRequest, LlamaCompletionRequest, LlamaSampling
from codehearth.wire.requests import CompletionRequest
from codehearth.wire.sse import frame

router = APIRouter()

_COUNTS = ("cache_n", "prompt_n", "predicted_n")
_TIMES = (
    "prompt_ms",
    "prompt_per_token_ms",
    "prompt_per_second",
    "predicted_ms",
    "predicted_per_token_ms",
    "predicted_per_second",
)


@router.post("/infill")
async def infill(request: Request) -> Response:
    """llama.cpp's infilling: what belongs between `input_prefix` and `input_suffix`."""
    asked = await read_request(request, InfillRequest)
    middle = Fim(
        prefix=asked.input_prefix + asked.prompt,
        suffix=asked.input_suffix,
        language=_common_language([extra.filename for extra in asked.input_extra]),
        snippets=tuple(Snippet(extra.filename or None, extra.text) for extra in asked.input_extra),
    )
    return await _answered(request, asked, middle)


@router.post("/completion")
@router.post("/completions")
async def complete(request: Request) -> Response:
    """A templated prompt asks for a middle; any other is continued as the model likes."""
    asked = await read_request(request, LlamaCompletionRequest)
    middle = take_apart(asked.prompt)
    if middle is not None:
        return await _answered(request, asked, middle)
    return await _continued(request, asked)


@router.get("/props")
async def props(request: Request) -> Response:
    """What clients probe before they ask: the context of the default model, where it is loaded."""
    house = house_of(request)
    model = await house.name_of(request.query_params.get("model"))
    live = await house.live(model)
    slots, context = (live.num_slots, live.context_tokens) if live else (0, 0)
    return JsonResponse(
        {
            "default_generation_settings": {"n_ctx": context, "params": {}},
            "total_slots": slots,
            "model_alias": model,
            "model_path": model,
            "build_info": f"codehearth-{__version__}",
        }
    )


async def _answered(request: Request, asked: LlamaSampling, middle: Fim) -> Response:
    house, notes = house_of(request), Notes()
    model = await house.name_of(asked.model)
    made = Infill(
        model=model,
        fim=middle,
        asked=_sampling(asked),
        client=client_of(request, user=asked.user),
        has_optional_choices=True,
        is_warm_up=asked.max_new_tokens == 0,
        max_predict_ms=asked.t_max_predict_ms,
        samplers=tuple(asked.samplers or ()),
        keep_alive_s=house.keep_alive_s(asked.keep_alive),
    )
    dialect = LlamaDialect(model, notes, asked)
    return fim.infilled(house, made, dialect, notes=notes, suggestion_id=dialect.id)


async def _continued(request: Request, asked: LlamaCompletionRequest) -> Response:
    house, notes, sampling = house_of(request), Notes(), _sampling(asked)
    model = await house.name_of(asked.model)

    def body(facts: ModelFacts, *, number: int) -> Mapping[str, Any]:
        notes.context_tokens = facts.context_tokens
        limit = facts.context_tokens if sampling.max_tokens is None else sampling.max_tokens
        limited = sampling.model_copy(update={"max_tokens": limit})
        return completion_body(limited, asked.prompt, facts, choice=number) | TIMED

    choices = [
        Choice(
            0,
            "/v1/completions",
            partial(body, number=number),
            is_silent=asked.max_new_tokens == 0,
            read=timed_piece,
        )
        for number in range(sampling.num_choices)
    ]
    order = Order(
        model=model,
        choices=choices,
        owner=caller_of(request).owner,
        keep_alive_s=house.keep_alive_s(asked.keep_alive),
    )
    dialect = LlamaDialect(model, notes, asked)
    work = partial(answer_order, house, order, dialect, is_streamed=bool(asked.stream))
    return Generation(work, on_gone=house.metrics.cancelled.inc)


def _common_language(paths: Sequence[str]) -> Language | None:
    """The language of all the other files: these clients do not name the one with the cursor."""
    found = {language_of_file(path) for path in paths}
    return found.pop() if len(found) == 1 else None


def _sampling(asked: LlamaSampling) -> CompletionRequest:
    return CompletionRequest(
        max_tokens=asked.max_new_tokens,
        temperature=asked.temperature,
        top_k=None if asked.top_k is None else max(0, asked.top_k),
        top_p=asked.top_p,
        min_p=asked.min_p,
        repeat_penalty=asked.repeat_penalty,
        presence_penalty=asked.presence_penalty,
        frequency_penalty=asked.frequency_penalty,
        seed=None if asked.seed is None or asked.seed < 0 else asked.seed,
        stop=asked.stop,
        n=asked.n_cmpl,
        stream=asked.stream,
    )


@dataclass
class LlamaDialect:
    """Objects with `content` and `stop`; a stream has no [DONE], its last object says `stop`."""

    model: str
    notes: Notes
    asked: LlamaSampling
    content_type: str = EVENT_STREAM
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = CompletionFormat(model=self.model).id

    def opening(self, index: int) -> bytes:
        return b""

    def piece(self, index: int, piece: Piece) -> bytes:
        if piece.finish_reason is None:
            said = {"index": index, "content": text_of([piece]), "tokens": [], "stop": False}
            return frame(dump_json(said))
        return frame(dump_json(self._picked(self._object(index, [piece], piece.usage or {}))))

    def closing(self, usages: Sequence[Usage]) -> bytes:
        return b""

    def whole(self, choices: Sequence[Sequence[Piece]], usages: Sequence[Usage]) -> Any:
        made = [
            self._picked(self._object(index, pieces, usage))
            for index, (pieces, usage) in enumerate(zip(choices, usages, strict=True))
        ]
        return made if (self.asked.n_cmpl or 1) > 1 else made[0]

    def error(self, error: HearthError) -> bytes:
        return frame(dump_json(llama_cpp_error_body(error)))

    def _object(self, index: int, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        text, is_limit = text_of(pieces), finish_reason_of(pieces) == "length"
        prompt_tokens = int(usage.get("prompt_tokens", 0))
        made_tokens = int(usage.get("completion_tokens", 0))
        return {
            "id": self.id,
            "index": index,
            "content": text,
            "tokens": [],
            "id_slot": -1,
            "stop": True,
            "model": self.model,
            "tokens_predicted": made_tokens,
            "tokens_evaluated": prompt_tokens,
            "generation_settings": {
                "n_ctx": self.notes.context_tokens,
                "n_predict": self.asked.n_predict,
                "temperature": self.asked.temperature,
                "stream": bool(self.asked.stream),
            },
            "has_new_line": "\n" in text,
            "truncated": self.notes.is_cut,
            "stop_type": "limit" if is_limit else "eos",
            "stopping_word": "",
            "tokens_cached": prompt_tokens + made_tokens,
            "timings": _timings(usage),
        }

    def _picked(self, made: dict[str, Any]) -> dict[str, Any]:
        """Only `response_fields`, each under its path: `timings/predicted_n` is a key."""
        if self.asked.response_fields is None:
            return made
        picked = {}
        for path in self.asked.response_fields:
            value: Any = made
            for name in path.split("/"):
                value = value.get(name, _NOTHING) if isinstance(value, dict) else _NOTHING
            if value is not _NOTHING:
                picked[path] = value
        return picked


_NOTHING = object()


def _timings(usage: Usage) -> dict[str, Any]:
    """llama.cpp's own; zeros where no engine was asked."""
    told = usage.get("timings") or {}
    counts = {name: int(told.get(name) or 0) for name in _COUNTS}
    return counts | {name: float(told.get(name) or 0.0) for name in _TIMES}
