"""Training data as people have it, and every mistake in it with its line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from codehearth.errors import InvalidRequest
from codehearth.lab.tuning.examples import Chat, Code, Completion, digest, with_system
from codehearth.lab.tuning.formats import Kind, read_data

ALPACA = {"instruction": "你是谁？", "input": "", "output": "我是小炉。"}
TALK = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}


def lines(*rows: Any) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


@pytest.mark.parametrize(
    ("row", "kind", "question", "answer"),
    [
        (ALPACA, "instructions", "user: 你是谁？", "我是小炉。"),
        (
            {"instruction": "Sort", "input": "3 1 2", "output": "1 2 3"},
            "instructions", "user: Sort\n3 1 2", "1 2 3",
        ),
        ({"input": "only this", "output": "x"}, "instructions", "user: only this", "x"),
        (TALK, "conversations", "user: hi", "hello"),
        (
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
            "conversations", "user: a", "b",
        ),
        ({"prompt": "def f():", "completion": " pass"}, "completions", "def f():", " pass"),
        (
            {"prompt": TALK["messages"][:1], "completion": TALK["messages"][1:]},
            "completions", "user: hi", "hello",
        ),
        ({"text": "x = 1\n"}, "code", "x = 1\n", "x = 1\n"),
        ({"code": "y = 2\n", "path": "a.py"}, "code", "y = 2\n", "y = 2\n"),
    ],
)  # fmt: skip
def test_a_row_is_told_by_its_fields(
    row: dict[str, Any], kind: Kind, question: str, answer: str
) -> None:
    found = read_data(lines(row), "rows.jsonl")

    assert found.kind == kind
    assert (found.examples[0].question, found.examples[0].answer) == (question, answer)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_of_json_is_read_like_lines(indent: int | None) -> None:
    listed = json.dumps([ALPACA, ALPACA | {"output": "b"}], indent=indent).encode()

    found = read_data(listed, "rows.json")

    assert [one.answer for one in found.examples] == ["我是小炉。", "b"]


def test_csv_with_quotes_and_line_ends_in_a_cell_is_read() -> None:
    content = 'instruction,input,output\n"a, b",,"one\ntwo"\nc,,d\n'.encode("utf-8-sig")

    found = read_data(content, "rows.csv")

    assert [one.answer for one in found.examples] == ["one\ntwo", "d"]
    assert [one.line for one in found.examples] == [2, 4]


def test_a_file_of_code_is_one_example() -> None:
    found = read_data(b"def f():\n    return 1\n", "f.py")

    assert found.examples == (Code("def f():\n    return 1\n", 1, "f.py"),)


def test_utf_16_with_its_mark_is_read() -> None:
    assert read_data(lines(ALPACA).decode().encode("utf-16"), "a.jsonl").kind == "instructions"


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "a.jsonl", "'a.jsonl' is empty"),
        (b" \n\n", "a.jsonl", "'a.jsonl' is empty"),
        (b"[]", "a.json", "holds no rows"),
        (lines(ALPACA) + b"\n{broken", "a.jsonl", "line 2 is no JSON"),
        (b'{"a": 1}\n[1]', "a.jsonl", "line 2 is no JSON object"),
        (lines(ALPACA, {"instruction": "x"}), "a.jsonl", "line 2 has no output"),
        (lines(ALPACA | {"output": "  "}), "a.jsonl", "line 1 has no output"),
        (lines(ALPACA | {"output": 3}), "a.jsonl", "line 1 has output of another type"),
        (b'{"instruction": "x", "output": "\\ud800"}', "a.jsonl",
         "line 1 has half a character (\\ud800) in output"),
        (b'{"messages": [{"role": "assistant", "content": "\\udc00"}]}', "a.jsonl",
         "line 1 has half a character (\\udc00) in message 1"),
        (lines({"output": "x"}), "a.jsonl", "line 1 has neither instruction nor input"),
        (lines(ALPACA, TALK), "a.jsonl", "conversations (line 2), instructions (line 1)"),
        (lines({"question": "x"}), "a.jsonl", "line 1 has the fields question"),
        (lines({"messages": []}), "a.jsonl", "line 1 has no list of messages"),
        (lines({"messages": TALK["messages"][:1]}), "a.jsonl", "does not end with"),
        (lines({"messages": [{"role": "wizard", "content": "x"}]}), "a.jsonl", "'wizard'"),
        (lines({"prompt": "x"}), "a.jsonl", "line 1 has no completion"),
        ("你好\n".encode("gb18030"), "a.jsonl", "line 1 is not UTF-8"),
        (lines(ALPACA) + b"\n\xff", "a.jsonl", "line 2 is not UTF-8"),
        (b'[{"a": 1}', "a.json", "breaks off after the row of line 1"),
        (b'[\n{"a": 1},\n{"b" 2}]', "a.json", "line 3 is no JSON object"),
        (b"instruction,output\na,b,c\n", "a.csv", "line 2 has more cells"),
        (b"[" * 100_000, "a.json", "no JSON object"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(content: bytes, name: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_data(content, name)

    assert said in caught.value.message


def test_many_wrong_lines_are_counted_and_not_listed() -> None:
    with pytest.raises(InvalidRequest, match="line 5 has no output; and 15 more lines"):
        read_data(lines(*[{"instruction": "x"}] * 20), "a.jsonl")


def test_a_row_may_hold_what_only_unicode_takes_for_the_end_of_a_line() -> None:
    found = read_data(lines(ALPACA | {"output": "a\u2028b\x85c"}), "a.jsonl")

    assert found.examples[0].answer == "a\u2028b\x85c"


def test_a_system_prompt_is_put_where_there_is_none() -> None:
    own = {"messages": [{"role": "system", "content": "mine"}, *TALK["messages"]]}
    examples = read_data(lines(TALK, own), "a.jsonl").examples

    first, second = with_system(examples, "theirs")

    assert isinstance(first, Chat) and isinstance(second, Chat)
    assert [first.messages[0].content, second.messages[0].content] == ["theirs", "mine"]


def test_the_hash_is_of_the_rows_and_not_of_the_file() -> None:
    one = read_data(lines(ALPACA), "a.jsonl").examples
    other = read_data(json.dumps([ALPACA], indent=3).encode(), "b.json").examples
    changed = read_data(lines(ALPACA | {"output": "x"}), "a.jsonl").examples

    hashes = [
        digest(x for x in found if not isinstance(x, Code)) for found in (one, other, changed)
    ]
    assert hashes[0] == hashes[1] != hashes[2]
    assert digest([Completion("a", "b")]) != digest([Completion("ab", "")])
