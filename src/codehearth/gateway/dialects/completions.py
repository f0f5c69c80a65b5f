"""`POST /v1/completions` for everybody: OpenAI's clients, and the editors that use it their way.

Which of them asks is seen from the body:

1. `segments`: Tabby's clients.
2. `suffix`, also on DeepSeek's path `/beta/completions`, or a `repository` whose code is to be
   shown: a middle is asked for.
3. A prompt in an infilling template of any family (Zed, Continue, llm-ls, twinny): a middle, too;
   it is taken apart and laid out anew for the model that answers.
4. Anything else is OpenAI's completion, exactly: the model's own continuation to `max_tokens`.

A list of prompts, tokens, `echo` and `logprobs` are OpenAI's, with a `suffix` as well: such an
answer is the model's own, never cut.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.errors import InvalidRequest
from codehearth.gateway.answering import OpenAIDialect, openai_answer
from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import read_object
from codehearth.gateway.engine.chunks import CompletionFormat
from codehearth.gateway.engine.generate import Choice
from codehearth.gateway.engine.link import engine_json
from codehearth.gateway.engine.upstream import check_completion, completion_body, scores_prompt
from codehearth.gateway.house import House, house_of
from codehearth.gateway.infilling import fim
from codehearth.gateway.infilling.clients import client_of
from codehearth.gateway.infilling.infill import Infill
from codehearth.gateway.infilling.segments import (
    TabbyDialect,
    fim_of_segments,
    sampling_of_segments,
)
from codehearth.pool.child import ModelFacts
from codehearth.text.fim import Fim, take_apart
from codehearth.text.languages import find_language, language_of_file
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.requests import CompletionRequest
from codehearth.wire.tabby import SegmentsRequest
from codehearth.wire.validation import validated

router = APIRouter()


@router.post("/v1/completions")
@router.post("/beta/completions")
async def complete(request: Request) -> Response:
    """OpenAI's completions; with `suffix` the middle is filled in. `/beta` is DeepSeek's."""
    body = await read_object(request)
    if body.get("segments") is not None:
        return await _complete_segments(request, validated(SegmentsRequest, body))
    asked = _with_options(validated(CompletionRequest, body))
    check_completion(asked)
    middle = _fim_of(asked)
    if middle is None:
        return await _continue(request, asked)
    infill = Infill(
        model=await house_of(request).name_of(asked.model),
        fim=middle,
        asked=asked,
        client=client_of(request, user=asked.user),
        needs_suffix=bool(asked.suffix),
        ends_with_block=asked.ending != "none",
        is_warm_up=asked.max_tokens == 0,
        keep_alive_s=house_of(request).keep_alive_s(asked.keep_alive),
        repository=asked.repository,
    )
    shape = CompletionFormat(model=infill.model)
    dialect = OpenAIDialect(shape, wants_usage=asked.wants_usage)
    return fim.infilled(house_of(request), infill, dialect, suggestion_id=shape.id)


async def _complete_segments(request: Request, asked: SegmentsRequest) -> Response:
    house = house_of(request)
    infill = Infill(
        model=await house.name_of(asked.model),
        fim=fim_of_segments(asked),
        asked=sampling_of_segments(asked),
        client=client_of(request, user=asked.user),
        keep_alive_s=house.keep_alive_s(asked.keep_alive),
        git_url=asked.segments.git_url,
    )
    suggestion_id = CompletionFormat(model=infill.model).id
    dialect = TabbyDialect(suggestion_id)
    return fim.infilled(house, infill, dialect, suggestion_id=suggestion_id)


def _with_options(asked: CompletionRequest) -> CompletionRequest:
    """twinny's `options` as OpenAI's fields, where those are not given."""
    options = asked.options
    if options is None:
        return asked
    limit = None if (options.num_predict or 0) < 0 else options.num_predict
    given = {"max_tokens": limit, "temperature": options.temperature, "stop": options.stop}
    update = {name: value for name, value in given.items() if getattr(asked, name) is None}
    return asked.model_copy(update=update)


def _fim_of(asked: CompletionRequest) -> Fim | None:
    """The middle that is asked for; None where OpenAI's own completion is."""
    prompt = "" if asked.prompt is None else asked.prompt
    if not isinstance(prompt, str) or asked.echo or asked.logprobs is not None:
        return None
    if asked.suffix or asked.repository:
        taken: Fim | None = Fim(prompt, asked.suffix or "")
    else:
        taken = take_apart(prompt)
    if taken is None:
        return None
    path = asked.filepath or taken.path
    return replace(taken, path=path, language=_language_of(asked.language, path) or taken.language)


def _language_of(name: str | None, path: str | None) -> Any:
    if name is None:
        return language_of_file(path)
    try:
        return find_language(name)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param="language", hint=error.hint) from error


async def _continue(request: Request, asked: CompletionRequest) -> Response:
    """OpenAI's completion."""
    house = house_of(request)
    model = await house.name_of(asked.model)
    echoes = await _echoes(house, asked, model, caller_of(request).owner)
    choices = [
        Choice(
            prompt_number,
            "/v1/completions",
            partial(_body_of, asked, prompt, number),
            echo=echoes[prompt_number],
            is_silent=asked.max_tokens == 0 and not scores_prompt(asked),
        )
        for prompt_number, prompt in enumerate(asked.prompts)
        for number in range(asked.num_choices)
    ]
    shape = CompletionFormat(model=model, num_top=asked.logprobs or 0)
    return openai_answer(request, asked, model, choices, shape)


def _body_of(
    asked: CompletionRequest, prompt: str | list[int], number: int, facts: ModelFacts
) -> dict[str, Any]:
    return completion_body(asked, prompt, facts, choice=number)


async def _echoes(house: House, asked: CompletionRequest, model: str, owner: str) -> list[str]:
    """What the answers repeat first: prompts as text; token ids are read back by the engine."""
    if not asked.echo or scores_prompt(asked):
        return [""] * len(asked.prompts)
    if all(isinstance(prompt, str) for prompt in asked.prompts):
        return [str(prompt) for prompt in asked.prompts]
    async with house.lease(model, owner=owner) as lease:
        return [
            str(
                (
                    await engine_json(lease.endpoint, "/detokenize", dump_json({"tokens": prompt}))
                ).get("content", "")
            )
            for prompt in asked.prompts
        ]
