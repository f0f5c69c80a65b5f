"""Anthropic's Messages, made a chat of the house, so that every engine answers them.

Images and documents are refused by name, their addresses never fetched. Tools that Anthropic's own
servers would run are left out. Thinking that comes back from the client is shown to the model as
its reasoning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import read_request
from codehearth.gateway.chatting import answer_chat, check_text
from codehearth.gateway.dialects.anthropic_answers import MessageDialect
from codehearth.gateway.engine.counting import num_chat_tokens
from codehearth.gateway.engine.upstream import check_chat
from codehearth.gateway.house import house_of
from codehearth.gateway.streams import Generation, Writer
from codehearth.wire.anthropic import AnthropicMessage, Block, MessagesRequest
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.requests import ChatRequest
from codehearth.wire.validation import validated

router = APIRouter()


@router.post("/v1/messages")
async def create_message(request: Request) -> Response:
    """Anthropic's messages, streamed or whole."""
    chat = chat_of(await read_request(request, MessagesRequest))
    model = await house_of(request).name_of(chat.model)
    return await answer_chat(request, chat, model, MessageDialect(model))


@router.post("/v1/messages/count_tokens")
async def count_tokens(request: Request) -> Response:
    """How many tokens a message of Anthropic would have."""
    house, chat = house_of(request), chat_of(await read_request(request, MessagesRequest))
    check_chat(chat)
    model = await house.name_of(chat.model)
    owner = caller_of(request).owner

    async def work(writer: Writer) -> None:
        counted = await num_chat_tokens(house, chat, model, owner=owner)
        await writer.whole(dump_json({"input_tokens": counted}))

    return Generation(work, on_gone=house.metrics.cancelled.inc)


def chat_of(asked: MessagesRequest) -> ChatRequest:
    """The same as a chat of OpenAI's. Raises InvalidRequest for what is not text."""
    system = _text(asked.system or "", where="system")
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for number, message in enumerate(asked.messages):
        messages += _turns(message, where=f"messages[{number}].content")
    tools = [
        {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.input_schema,
        }
        for tool in asked.tools or ()
        if tool.input_schema is not None
    ]
    body = {
        "model": asked.model,
        "messages": messages,
        "max_tokens": asked.max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "stop": asked.stop_sequences,
        "tools": [{"type": "function", "function": tool} for tool in tools] or None,
        "stream": asked.stream,
        "repository": asked.repository,
    }
    return validated(ChatRequest, body | (_choice(asked) if tools else {}))


def _choice(asked: MessagesRequest) -> dict[str, Any]:
    choice = asked.tool_choice
    if choice is None:
        return {}
    named = {"type": "function", "function": {"name": choice.name or ""}}
    words = {"auto": "auto", "any": "required", "none": "none"}
    told: dict[str, Any] = {"tool_choice": words.get(choice.type, named)}
    if choice.disable_parallel_tool_use:
        told["parallel_tool_calls"] = False
    return told


def _turns(message: AnthropicMessage, *, where: str) -> Iterator[dict[str, Any]]:
    """A message as OpenAI's: the answers of tools are messages of their own and come first."""
    kept: list[Block] = []
    calls, reasoning = [], ""
    for block in message.blocks:
        if block.type == "tool_result":
            content = _text(block.content or "", where=where)
            yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}
        elif block.type == "tool_use":
            called = {"name": block.name or "", "arguments": dump_json(block.input or {}).decode()}
            calls.append({"id": block.id, "type": "function", "function": called})
        elif block.type == "thinking":
            reasoning += block.thinking
        else:
            kept.append(block)
    text = _text(kept, where=where)
    if not (kept or calls or reasoning):
        return
    turn: dict[str, Any] = {"role": message.role, "content": text}
    if calls:
        turn["tool_calls"] = calls
    if reasoning:
        turn["reasoning_content"] = reasoning
    yield turn


def _text(content: str | Sequence[Block], *, where: str) -> str:
    """The text of blocks, in paragraphs; what else there is besides pictures says nothing."""
    if isinstance(content, str):
        return content
    check_text(content, where=where)
    return "\n\n".join(block.text for block in content if block.text)
