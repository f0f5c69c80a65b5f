"""OpenAI's Responses, made a chat of the house, so that every engine answers them.

This server keeps no responses. Pictures and files are refused by name, their addresses never
fetched; tools that OpenAI's own servers would run are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.errors import InvalidRequest, Unsupported
from codehearth.gateway.body import read_request
from codehearth.gateway.chatting import answer_chat, check_text
from codehearth.gateway.dialects.responses_answers import ResponseDialect
from codehearth.gateway.house import house_of
from codehearth.wire.requests import ChatRequest
from codehearth.wire.responses import Item, Part, ResponsesRequest
from codehearth.wire.validation import validated

router = APIRouter()


@router.post("/v1/responses")
async def create_response(request: Request) -> Response:
    """OpenAI's responses, streamed or whole."""
    asked = await read_request(request, ResponsesRequest)
    if asked.previous_response_id is not None or asked.background:
        raise Unsupported(
            "This server keeps no responses.",
            param="previous_response_id" if asked.previous_response_id else "background",
            hint="send the whole conversation in 'input'",
        )
    chat = chat_of(asked)
    model = await house_of(request).name_of(chat.model)
    return await answer_chat(request, chat, model, ResponseDialect(model, asked))


def chat_of(asked: ResponsesRequest) -> ChatRequest:
    """The same as a chat of OpenAI's. Raises InvalidRequest for what is not text."""
    messages = [{"role": "system", "content": asked.instructions}] if asked.instructions else []
    tools = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        for tool in asked.tools or ()
        if tool.type == "function"
    ]
    body: dict[str, Any] = {
        "model": asked.model,
        "messages": messages + _messages(asked.input),
        "max_tokens": asked.max_output_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "response_format": _response_format(asked),
        "stream": asked.stream,
        "repository": asked.repository,
    }
    if tools:
        body["tools"] = [{"type": "function", "function": tool} for tool in tools]
        body["tool_choice"] = _tool_choice(asked)
        body["parallel_tool_calls"] = asked.parallel_tool_calls
    return validated(ChatRequest, body)


def _messages(given: str | Sequence[Item]) -> list[dict[str, Any]]:
    """Items as messages: calls and reasoning belong to the assistant's turn that they are in."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    made: list[dict[str, Any]] = []
    for number, item in enumerate(given):
        where = f"input[{number}].content"
        match item.type:
            case "message":
                text = _text(item.content or "", where=where)
                if item.role == "assistant":
                    turn = _turn(made)
                    turn["content"] = (turn["content"] or "") + text
                else:
                    made.append({"role": item.role or "user", "content": text})
            case "function_call":
                function = {"name": item.name or "", "arguments": item.arguments}
                call = {"id": item.call_id, "type": "function", "function": function}
                _turn(made).setdefault("tool_calls", []).append(call)
            case "function_call_output":
                output = _text(item.output or "", where=f"input[{number}].output")
                made.append({"role": "tool", "tool_call_id": item.call_id, "content": output})
            case "reasoning":
                thought = _text(item.content or item.summary or "", where=where)
                if thought:
                    _turn(made)["reasoning_content"] = thought
            case _:
                raise InvalidRequest(
                    f"'input[{number}].type': this server knows no '{item.type}'.",
                    param=f"input[{number}].type",
                )
    return made


def _turn(made: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's turn that is going on, or a new one."""
    if not made or made[-1]["role"] != "assistant":
        made.append({"role": "assistant", "content": None})
    return made[-1]


def _text(content: str | Sequence[Part], *, where: str) -> str:
    if isinstance(content, str):
        return content
    check_text(content, where=where)
    return "".join(part.text or part.refusal for part in content)


def _tool_choice(asked: ResponsesRequest) -> Any:
    choice = asked.tool_choice
    if choice is None or isinstance(choice, str):
        return choice
    if choice.type != "function":  # of several allowed ones the model may choose
        return "auto"
    return {"type": "function", "function": {"name": choice.name or ""}}


def _response_format(asked: ResponsesRequest) -> dict[str, Any] | None:
    wanted = asked.text.format if asked.text else None
    if wanted is None:
        return None
    if wanted.type == "json_schema":
        return {
            "type": "json_schema",
            "json_schema": {"name": wanted.name, "schema": wanted.schema_},
        }
    return {"type": wanted.type}
