"""A file of training data to examples, every row checked and every complaint with its line; pure.

Rows come as JSON lines, a JSON list or CSV. What a row is, is told by its fields:

    instruction, input, output      a question and its answer (Alpaca); `input` may be empty
    messages / conversations        a conversation, as OpenAI writes it or ShareGPT
    prompt, completion              a text and what follows it; or both as messages (TRL)
    text / code / content           code in which middles are to be filled in

All rows of one file are of one kind: a mixture is mostly a mistake. A file of source code is one
example of code.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from codehearth.errors import InvalidRequest
from codehearth.lab.tuning.examples import ROLES, Chat, Code, Completion, Example, Message
from codehearth.text.languages import language_of_file

MAX_BYTES = 1 << 30
MAX_COMPLAINTS = 5

Kind = Literal["instructions", "conversations", "completions", "code"]
_Row = tuple[int, Mapping[str, Any]]

_SPEAKERS = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
             "bot": "assistant", "system": "system", "tool": "tool"}  # fmt: skip
_TEXTS = ("text", "code", "content")


@dataclass(frozen=True)
class Data:
    """All examples of a file; `kind` is theirs."""

    kind: Kind
    examples: tuple[Example, ...]


class _Wrong(Exception):
    """What is wrong with a row, as the end of a sentence."""


def read_data(content: bytes, name: str) -> Data:
    """The examples in a file of that name; raises InvalidRequest, which names lines.

    At most five lines are named, and how many more there are.
    """
    if len(content) > MAX_BYTES:
        raise _refused(f"'{name}' is larger than {MAX_BYTES >> 20} MiB.")
    text = _decoded(content, name)
    if not text.strip():
        raise _refused(f"'{name}' is empty.", hint="one JSON object a line: instruction, output")
    if _is_code(name):
        return Data("code", (Code(text, 1, name),))
    rows = list(_rows(text, name))
    if not rows:
        raise _refused(f"'{name}' holds no rows.")
    kinds = {kind: line for line, row in reversed(rows) if (kind := _kind_of(row)) is not None}
    if len(kinds) > 1:
        places = ", ".join(f"{kind} (line {line})" for kind, line in sorted(kinds.items()))
        raise _refused(
            f"'{name}' mixes kinds of rows: {places}.", hint="take them apart into one file each"
        )
    kind = next(iter(kinds), None)
    return Data(kind or "instructions", tuple(_examples(rows, kind, name)))


def _examples(rows: list[_Row], kind: Kind | None, name: str) -> Iterator[Example]:
    """Each row as an example; raises with all that are wrong."""
    complaints: list[str] = []
    examples: list[Example] = []
    for line, row in rows:
        try:
            if kind is None:
                raise _Wrong(f"has the fields {_named(row)}, and none of those that are known")
            examples.append(_READERS[kind](row, line))
        except _Wrong as wrong:
            complaints.append(f"line {line} {wrong}")
    if complaints:
        shown = "; ".join(complaints[:MAX_COMPLAINTS])
        more = len(complaints) - MAX_COMPLAINTS
        raise _refused(
            f"'{name}': {shown}{f'; and {more} more lines' if more > 0 else ''}.",
            hint="known are instruction/input/output, messages, prompt/completion, and text",
        )
    return iter(examples)


# --- rows ---------------------------------------------------------------------------------------


def _rows(text: str, name: str) -> Iterator[_Row]:
    """Each row with the line that it begins on."""
    if name.lower().endswith(".csv"):
        yield from _csv_rows(text, name)
    elif text.lstrip()[0] == "[":
        yield from _listed_rows(text, name)
    else:
        yield from _line_rows(text, name)


def _line_rows(text: str, name: str) -> Iterator[_Row]:
    # Not splitlines: a row may hold U+2028, which JSON does not take for the end of a line.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, _object(json.loads(line), name, number)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "too deep"
            raise _refused(
                f"'{name}', line {number} is no JSON: {reason}.",
                hint="JSON lines hold one object a line, a JSON file one list of objects",
            ) from error


def _listed_rows(text: str, name: str) -> Iterator[_Row]:
    """A JSON list, read object by object so that each row knows its line."""
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    line, counted = text.count("\n", 0, at) + 1, at
    while True:
        at = _after_blanks(text, at)
        if text[at : at + 1] == "]":
            return
        line, counted = line + text.count("\n", counted, at), at
        try:
            row, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise _refused(f"'{name}', line {line} is no JSON object.") from error
        yield line, _object(row, name, line)
        at = _after_blanks(text, at)
        if text[at : at + 1] == ",":
            at += 1
        elif text[at : at + 1] != "]":
            raise _refused(f"'{name}' breaks off after the row of line {line}.")


def _csv_rows(text: str, name: str) -> Iterator[_Row]:
    csv.field_size_limit(1 << 24)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    end = 1
    try:
        for row in reader:
            begin, end = end + 1, reader.line_num
            if None in row:
                raise _refused(f"'{name}', line {begin} has more cells than there are headings.")
            yield begin, {str(key): value or "" for key, value in row.items()}
    except csv.Error as error:
        raise _refused(f"'{name}', line {reader.line_num} is no CSV: {error}.") from error


def _object(row: object, name: str, line: int) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise _refused(f"'{name}', line {line} is no JSON object.")
    return row


def _after_blanks(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at


# --- kinds --------------------------------------------------------------------------------------


def _kind_of(row: Mapping[str, Any]) -> Kind | None:
    if "messages" in row or "conversations" in row:
        return "conversations"
    if "instruction" in row or "output" in row:
        return "instructions"
    if "prompt" in row or "completion" in row:
        return "completions"
    return "code" if any(field in row for field in _TEXTS) else None


def _instruction(row: Mapping[str, Any], line: int) -> Example:
    question = _text(row, "instruction", needed=False).strip()
    more = _text(row, "input", needed=False).strip()
    if not question and not more:
        raise _Wrong("has neither instruction nor input")
    asked = f"{question}\n{more}" if question and more else question or more
    system = _text(row, "system", needed=False)
    answer = _text(row, "output")
    before = (Message("system", system),) if system.strip() else ()
    return Chat((*before, Message("user", asked), Message("assistant", answer)), line)


def _conversation(row: Mapping[str, Any], line: int) -> Example:
    said = row.get("messages", row.get("conversations"))
    if not isinstance(said, list) or not said:
        raise _Wrong("has no list of messages")
    messages = tuple(_message(one, number) for number, one in enumerate(said, start=1))
    if messages[-1].role != "assistant":
        raise _Wrong("does not end with what the assistant says")
    if not any(message.role == "user" for message in messages):
        raise _Wrong("holds no message of the user")
    return Chat(messages, line)


def _message(said: object, number: int) -> Message:
    if not isinstance(said, dict):
        raise _Wrong(f"message {number} is no object")
    role = said.get("role", said.get("from"))
    role = _SPEAKERS.get(role, role) if isinstance(role, str) else role
    if role not in ROLES:
        raise _Wrong(f"message {number} has the role {str(role)[:20]!r}")
    content = said.get("content", said.get("value"))
    if not isinstance(content, str) or (role == "assistant" and not content.strip()):
        raise _Wrong(f"message {number} has no text")
    _require_characters(content, f"message {number}")
    return Message(str(role), content)


def _completion(row: Mapping[str, Any], line: int) -> Example:
    asked, said = row.get("prompt"), row.get("completion")
    if isinstance(asked, list) and isinstance(said, list):
        return _conversation({"messages": [*asked, *said]}, line)
    return Completion(_text(row, "prompt", needed=False), _text(row, "completion"), line)


def _code(row: Mapping[str, Any], line: int) -> Example:
    field = next(field for field in _TEXTS if field in row)
    return Code(_text(row, field), line, _text(row, "path", needed=False))


def _text(row: Mapping[str, Any], field: str, *, needed: bool = True) -> str:
    value = row.get(field)
    if value is None or (isinstance(value, str) and not value.strip()):
        if needed:
            raise _Wrong(f"has no {field}")
        return ""
    if not isinstance(value, str):
        raise _Wrong(f"has {field} of another type than text")
    _require_characters(value, field)
    return value


def _require_characters(text: str, place: str) -> None:
    """JSON can write half of a character, which no tokenizer and no file takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise _Wrong(f"has half a character ({half}) in {place}") from error


_READERS: Mapping[Kind, Callable[[Mapping[str, Any], int], Example]] = {
    "instructions": _instruction,
    "conversations": _conversation,
    "completions": _completion,
    "code": _code,
}


# --- files --------------------------------------------------------------------------------------


def _decoded(content: bytes, name: str) -> str:
    """UTF-8, with or without its mark, or UTF-16 with one; raises with the line."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refused(
            f"'{name}', line {line} is not {encoding.removesuffix('-sig').upper()}.",
            hint=f"if it was saved in Chinese Windows: `iconv -f GB18030 -t UTF-8 {name}`",
        ) from error


def _is_code(name: str) -> bool:
    if PurePath(name).suffix.lower() in (".json", ".jsonl", ".ndjson", ".csv", ".txt", ""):
        return False
    return language_of_file(name) is not None


def _named(row: Mapping[str, Any]) -> str:
    return ", ".join(sorted(map(str, row))[:6]) or "none"


def _refused(message: str, *, hint: str | None = None) -> InvalidRequest:
    return InvalidRequest(message, hint=hint, param="data")
