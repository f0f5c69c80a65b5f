"""Which tokens the trainer learns: an answer up to its end, and nothing of what was asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

from codehearth.workers.tuning.parent import Refused
from codehearth.workers.tuning.rows import IGNORED, read_rows, tokens_of

CHATML = (
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}<e>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
# Shows earlier answers shortened, as templates of thinking models do.
FORGETFUL = (
    "{% for m in messages %}<s>{{ m.role }}\n"
    "{{ m.content if loop.last or m.role == 'user' else '...' }}<e>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
END = 0x10000


class Letters:
    """A tokenizer whose tokens are letters; `<e>` is one token, as marks are."""

    eos_token_id = END

    def __init__(self, template: str | None = CHATML) -> None:
        self.chat_template = template

    def apply_chat_template(
        self, messages: Any, *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        template = Environment(autoescape=False).from_string(str(self.chat_template))  # noqa: S701
        return template.render(messages=messages, add_generation_prompt=add_generation_prompt)

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        ids = [ord(letter) for letter in text.replace("<e>", chr(END))]
        return {"input_ids": [1, *ids] if add_special_tokens else ids}


def shown(ids: list[int]) -> str:
    return "".join("<e>" if one == END else "^" if one == 1 else chr(one) for one in ids)


def learnt(row: dict[str, Any], template: str | None = CHATML) -> tuple[str, str]:
    """All of the row, and what is learnt of it."""
    ids, labels = tokens_of(row, Letters(template), frozenset({END}))
    assert all(label in (IGNORED, token) for token, label in zip(ids, labels, strict=True))
    return shown(ids), shown([label for label in labels if label != IGNORED])


def talk(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": c} for n, c in enumerate(contents)]}


def test_an_answer_is_learnt_with_the_token_that_ends_it() -> None:
    assert learnt(talk("hi", "hello")) == (
        "<s>user\nhi<e>\n<s>assistant\nhello<e>",
        "hello<e>",
    )


def test_every_answer_of_a_conversation_is_learnt() -> None:
    whole, found = learnt(talk("a", "b", "c", "d"))

    assert found == "b<e>d<e>"
    assert whole.endswith("<e>\n<s>user\nc<e>\n<s>assistant\nd<e>")


def test_a_template_that_rewrites_the_past_teaches_the_last_answer() -> None:
    whole, found = learnt(talk("a", "b", "c", "d"), FORGETFUL)

    assert found == "d<e>"
    assert "...<e>" in whole and "\nb<e>" not in whole


def test_a_template_that_ends_nothing_gets_an_end() -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"

    assert learnt(talk("a", "b"), template) == ("ab<e>", "b<e>")


def test_a_plain_prompt_begins_as_engines_begin_it() -> None:
    row = {"prompt": "def f():", "completion": " pass"}

    assert learnt(row, None) == ("^def f(): pass<e>", " pass<e>")


def test_conversations_without_a_template_are_refused() -> None:
    with pytest.raises(Refused, match="no chat template"):
        learnt(talk("a", "b"), None)


def test_a_template_that_raises_is_told_as_it_is() -> None:
    with pytest.raises(Refused, match="refuses a conversation"):
        learnt(talk("a", "b"), "{{ messages.nothing.here }}")


@pytest.mark.parametrize(("long_rows", "kept", "tokens"), [("drop", 1, 12), ("cut", 2, 12 + 20)])
def test_long_rows_are_counted(long_rows: str, kept: int, tokens: int, tmp_path: Path) -> None:
    rows = [{"prompt": "12345", "completion": "67890"}, {"prompt": "1", "completion": "2" * 40}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    found, counted = read_rows(
        str(path), Letters(), frozenset({END}), max_tokens=20, long_rows=long_rows
    )

    assert (len(found), counted.num_rows, counted.num_too_long) == (kept, 2, 1)
    assert (counted.longest, counted.num_tokens) == (43, tokens)
