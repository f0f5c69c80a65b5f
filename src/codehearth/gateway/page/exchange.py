"""Conversations on their way out and in: the JSON document, and Markdown to read; pure."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from codehearth.records.talk import Attachment, Conversation, Imported, Message, NewMessage
from codehearth.text.attachments import with_files
from codehearth.wire.conversations import (
    FORMAT,
    MAX_TITLE_CHARACTERS,
    ExportedConversation,
    ExportedMessage,
)

_SPEAKERS = {"user": "You", "assistant": "Assistant"}
_HEADING = re.compile(r"## (You|Assistant)(?: \((.{1,256})\))?")
_ESCAPED = re.compile(r"\\+" + _HEADING.pattern)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_STATE = re.compile(r"\n\n\*\((stopped|interrupted|failed)\)\*$")


def as_document(conversation: Conversation, messages: Sequence[Message]) -> dict[str, Any]:
    """The whole conversation: what the API shows is also what an export holds."""
    return {**vars(conversation), "messages": messages}


def as_markdown(conversation: Conversation, messages: Sequence[Message]) -> str:
    """The branch that is shown, for people."""
    parts = [f"# {conversation.title or 'Conversation'}"]
    if conversation.system_prompt:
        parts.append("> " + conversation.system_prompt.replace("\n", "\n> "))
    for message in _shown(conversation, messages):
        speaker = _SPEAKERS[message.role]
        model = f" ({message.model})" if message.model else ""
        files = ((file.name, file.text) for file in message.attachments)
        parts.append(f"## {speaker}{model}\n\n{_body(with_files(message.content, files))}")
        if message.state not in ("done", "streaming"):
            parts.append(f"*({message.state})*")
    return "\n\n".join(parts) + "\n"


def from_markdown(text: str) -> dict[str, Any]:
    """The document of what `as_markdown` wrote, or of a page of that form that somebody wrote.

    Attached files stay what Markdown made of them: blocks of their message.
    """
    title = ""
    prompt: list[str] = []
    messages: list[dict[str, Any]] = []
    for line, is_fenced in _lines_of(text.replace("\r\n", "\n")):
        heading = None if is_fenced else _HEADING.fullmatch(line)
        if heading:
            role = "user" if heading[1] == "You" else "assistant"
            messages.append({"role": role, "model": heading[2], "lines": []})
        elif messages:
            plain = line if is_fenced or not _ESCAPED.fullmatch(line) else line[1:]
            messages[-1]["lines"].append(plain)
        elif line.startswith("# ") and not title:
            title = line[2:].strip()
        elif line.startswith(">"):
            prompt.append(line[1:].removeprefix(" "))
    conversation = {
        "title": title[:MAX_TITLE_CHARACTERS],
        "is_titled": bool(title),
        "system_prompt": "\n".join(prompt),
        "messages": [_from_lines(number, **one) for number, one in enumerate(messages)],
    }
    return {"format": FORMAT, "version": 1, "conversations": [conversation]}


def _lines_of(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it is part of a fenced block."""
    fence = ""
    for line in text.split("\n"):
        after = _fence_after(fence, line)
        yield line, bool(fence or after)
        fence = after


def _fence_after(fence: str, line: str) -> str:
    """The fence that is open below a line; empty where none is."""
    mark = _FENCE.fullmatch(line)
    if mark is None:
        return fence
    if not fence:
        return mark[1]
    return "" if mark[1].startswith(fence) and not mark[2].strip() else fence


def _body(text: str) -> str:
    """A message as Markdown: what looks like a speaker's heading is told apart, and a block that
    was never closed is closed, or it would take in all that follows."""
    lines, fence = [], ""
    for line, is_fenced in _lines_of(text.rstrip()):
        looks_so = _HEADING.fullmatch(line) or _ESCAPED.fullmatch(line)
        lines.append(f"\\{line}" if looks_so and not is_fenced else line)
        fence = _fence_after(fence, line)
    return "\n".join([*lines, fence] if fence else lines)


def _from_lines(number: int, role: str, model: str | None, lines: list[str]) -> dict[str, Any]:
    content, state = "\n".join(lines).strip("\n"), "done"
    ended = _STATE.search(content) if role == "assistant" else None
    if ended:
        content, state = content[: ended.start()].rstrip("\n"), ended[1]
    return {
        "id": f"m{number}",
        "parent_id": f"m{number - 1}" if number else None,
        "role": role,
        "content": content,
        "model": model,
        "state": state,
    }


def imported(conversations: Sequence[ExportedConversation]) -> list[Imported]:
    """As they are stored. Ids are made anew, so only the shape of the tree is kept of the old."""
    return [_imported(one) for one in conversations]


def _imported(one: ExportedConversation) -> Imported:
    numbers = {message.id: number for number, message in enumerate(one.messages)}
    now = time.time()
    leaf_id = one.leaf_id or (one.messages[-1].id if one.messages else None)
    return Imported(
        title=one.title,
        is_titled=one.is_titled and bool(one.title),
        model=one.model,
        system_prompt=one.system_prompt,
        parameters=one.parameters.given() if one.parameters else {},
        max_turns=one.max_turns or None,
        created_at=min(one.created_at or now, now),
        updated_at=min(one.updated_at or now, now),
        places=[
            (_new(message), None if message.parent_id is None else numbers[message.parent_id])
            for message in one.messages
        ],
        leaf=None if leaf_id is None else numbers[leaf_id],
    )


def _new(message: ExportedMessage) -> NewMessage:
    """What was being written when it was exported is not being written here."""
    return NewMessage(
        message.role,
        message.content,
        attachments=[Attachment(file.name, file.text) for file in message.attachments or ()],
        model=message.model,
        state="interrupted" if message.state == "streaming" else message.state,
        reasoning=message.reasoning,
        error=message.error.model_dump() if message.error else None,
        figures=message.figures.model_dump() if message.figures else None,
        created_at=message.created_at,
    )


def _shown(conversation: Conversation, messages: Sequence[Message]) -> list[Message]:
    by_id = {message.id: message for message in messages}
    path, at = [], by_id.get(conversation.leaf_id or "")
    while at is not None:
        path.append(at)
        at = by_id.get(at.parent_id or "")
    return path[::-1]
