"""The code in an answer; pure. A chat model wraps it in words and fences, a base model runs on."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence

_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n`]*\n(.*?)(?:^[ \t]*\1`*[ \t]*$|\Z)", re.M | re.S
)
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.S)
_ALIASES = {
    "python": ("python", "py", "python3"),
    "javascript": ("javascript", "js", "node", "jsx"),
    "bash": ("bash", "sh", "shell"),
    "c": ("c",),
}

# What a base model writes after the function it was to complete.
STOPS = {
    "python": ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\nassert ", "\n```"),
    "javascript": ("\nfunction ", "\nconst ", "\nlet ", "\n//", "\n/*", "\nconsole.", "\n```"),
}


def code_of_chat(answer: str, *, language: str, entry: str | None, head: str = "") -> str:
    """The code in a chat's answer; empty where there is none.

    1. The fenced blocks of the language; of several, all where one defines `entry`: helpers may
       stand in their own. An open fence goes to the end: the answer was cut.
    2. Without a fence: the answer itself where it is code.
    3. What stands before the function in `head` (imports, helpers) goes before it; a bare body
       goes below its head.
    """
    text = _THINKING.sub("", answer)
    code = _fenced(text, language, entry)
    if code is None:
        code = text.strip("\n") if _looks_like_code(text, language, entry) else ""
    if not code.strip() or not head:
        return code
    return _below_head(code, entry, head)


def _fenced(text: str, language: str, entry: str | None) -> str | None:
    blocks: list[tuple[str, str]] = [(tag.lower(), body) for _, tag, body in _FENCE.findall(text)]
    names = _ALIASES.get(language, (language,))
    own = [body for tag, body in blocks if tag in names]
    usable = own or [body for tag, body in blocks if not tag]
    if not usable:
        return None
    usable = [textwrap.dedent(body) for body in usable]
    if entry is None:
        return max(usable, key=len)
    defining = [body for body in usable if defines(body, language, entry)]
    if not defining:
        return usable[0]
    return _with_helpers(usable, defining[0], language)


def _with_helpers(blocks: Sequence[str], chosen: str, language: str) -> str:
    """Blocks before the chosen one belong to it where all of it still is one program."""
    if language != "python":
        return chosen
    before = blocks[: blocks.index(chosen)]
    helpers = [
        one for one in before if _parses(one) and re.search(r"^(def|class|import|from) ", one, re.M)
    ]
    return "\n\n".join([*helpers, chosen])


def defines(code: str, language: str, entry: str) -> bool:
    """Whether code gives a name a function."""
    name = re.escape(entry)
    if language == "python":
        return re.search(rf"^(?:async )?def {name}\b|^{name}\s*=", code, re.M) is not None
    return re.search(rf"\bfunction\s*\*?\s*{name}\b|\b{name}\s*[=:]", code) is not None


def _looks_like_code(text: str, language: str, entry: str | None) -> bool:
    if entry is not None:
        return defines(text, language, entry)
    marks = {"c": "#include", "bash": "#!", "python": "print("}
    return marks.get(language, "\0") in text


def _below_head(code: str, entry: str | None, head: str) -> str:
    if entry is None:
        return code
    if not re.search(rf"^(?:async )?def {re.escape(entry)}\b", code, re.M):
        return f"{head.rstrip()}\n{_indented(code)}"
    before = (
        head[: m.start()] if (m := re.search(rf"^def {re.escape(entry)}\b", head, re.M)) else ""
    )
    return f"{before}\n{code}" if before.strip() else code


def _indented(body: str) -> str:
    plain = textwrap.dedent(body)
    return textwrap.indent(plain, "    ")


def code_of_completion(text: str, *, language: str, head: str) -> str:
    """The head with what a base model wrote after it, to the end of the function.

    >>> code_of_completion("    return 1\\nprint(2)\\n", language="python", head="def one():\\n")
    'def one():\\n    return 1\\n'
    """
    kept: list[str] = []
    for number, line in enumerate(text.splitlines(keepends=True)):
        if number and line[:1] not in (" ", "\t", "\n", "\r", ")", "]", "}"):
            break
        kept.append(line)
        if number and language in ("javascript", "c") and line.startswith("}"):
            break
    return head + "".join(kept)


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
