"""The code is found in what models really answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.lab.evaluation.extraction import code_of_chat, code_of_completion

CODE = "def add(a, b):\n    return a + b\n"
HEAD = 'from typing import List\n\n\ndef add(a, b):\n    """Adds."""\n'


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (f"```python\n{CODE}```", CODE),
        (f"Sure!\n\n```py\n{CODE}```\nIt adds.", CODE),
        (f"```\n{CODE}```", CODE),
        (f"~~~python\n{CODE}~~~", CODE),
        (f"````python\n{CODE}````", CODE),
        (f"- like so:\n\n  ```python\n  {CODE.replace(chr(10), chr(10) + '  ')}\n  ```\n", CODE),
        (f"```bash\npip install x\n```\n```python\n{CODE}```", CODE),
        (f"```python\nprint(1)\n```\nand\n```python\n{CODE}```", CODE),
        (f"```python\nimport math\n```\n```python\n{CODE}```", f"import math\n\n\n{CODE}"),
        (f"<think>```python\ndef add(): pass\n```</think>```python\n{CODE}```", CODE),
        (f"```python\n{CODE}", CODE),
        (CODE, CODE.strip("\n")),
        ("I cannot do that.", ""),
        ("", ""),
        ("```python\n```", ""),
        ("<think>never ends ```python\nx = 1\n```", ""),
    ],
)
def test_of_a_chat(answer: str, expected: str) -> None:
    found = code_of_chat(answer, language="python", entry="add")

    assert found.rstrip() == expected.rstrip()


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (CODE, f"from typing import List\n\n\n\n{CODE}"),
        ("return a + b\n", f"{HEAD.rstrip()}\n    return a + b\n"),
        ("    return a + b\n", f"{HEAD.rstrip()}\n    return a + b\n"),
    ],
)
def test_the_head_gives_what_the_answer_left_out(block: str, expected: str) -> None:
    answer = f"```python\n{block}```"

    assert code_of_chat(answer, language="python", entry="add", head=HEAD) == expected


@pytest.mark.parametrize(
    ("language", "answer", "entry", "expected"),
    [
        ("javascript", "```js\nconst add = (a, b) => a + b;\n```", "add", "const add"),
        (
            "javascript",
            "```javascript\nfunction add(a, b) { return a + b; }\n```",
            "add",
            "function",
        ),
        ("c", "```c\n#include <stdio.h>\nint main(void) { return 0; }\n```", None, "#include"),
        ("bash", "```sh\nwc -w\n```", None, "wc -w"),
        ("bash", "#!/bin/bash\nwc -w\n", None, "#!/bin/bash"),
    ],
)
def test_of_other_languages(language: str, answer: str, entry: str | None, expected: str) -> None:
    assert code_of_chat(answer, language=language, entry=entry).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("    return 1\n", "    return 1\n"),
        ("    return 1\n\n\ndef other():\n    pass\n", "    return 1\n\n\n"),
        ("    return 1\nprint(one())\n", "    return 1\n"),
        ("    return [\n        1\n    ]\n", "    return [\n        1\n    ]\n"),
        ("", ""),
    ],
)
def test_of_a_completion(text: str, expected: str) -> None:
    head = "def one():\n"

    assert code_of_completion(text, language="python", head=head) == head + expected


def test_a_completion_in_javascript_ends_with_its_brace() -> None:
    text = "  return 1;\n}\n\nfunction other() {\n}\n"

    found = code_of_completion(text, language="javascript", head="function one() {\n")

    assert found == "function one() {\n  return 1;\n}\n"


@given(st.text(max_size=300))
def test_any_answer_is_survived(answer: str) -> None:
    for language in ("python", "javascript", "c", "bash"):
        code_of_chat(answer, language=language, entry="add", head=HEAD)
        code_of_completion(answer, language=language, head=HEAD)
