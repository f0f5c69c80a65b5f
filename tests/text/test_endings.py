"""Where an answer ends; streamed and whole it is the same text."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.text.endings import Cutter, Ending, cut, ending_of, is_mid_line
from codehearth.text.fim import Fim
from codehearth.text.languages import language_named

PATTERNS = (re.compile(r"\n\n^#", re.M), re.compile(r"^'''", re.M), re.compile(r"\n\n\n"))


def streamed(parts: list[str], ending: Ending, prefix: str = "", suffix: str = "") -> str:
    """What a client gets, part by part; after `is_done` nothing more may come."""
    cutter = Cutter(ending, prefix, suffix)
    sent = ""
    for part in parts:
        was_done = cutter.is_done
        made = cutter.feed(part)
        assert not (was_done and made)
        sent += made
    return sent + cutter.finish()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("print('hi')", "print('hi')"),
        ("a = 1\n\n# next thing", "a = 1"),
        ("a = 1\n# same block", "a = 1\n# same block"),
        ("a = '''text'''", "a = '''text'''"),
        ("a = 1\n\n\nb = 2", "a = 1"),
        ("a = 1<|endoftext|>b", "a = 1"),
        ("", ""),
    ],
)
def test_stops_and_patterns_cut(text: str, kept: str) -> None:
    ending = Ending(stops=("<|endoftext|>",), patterns=PATTERNS, follows_blocks=False)

    assert cut(text, ending) == kept


def test_the_families_own_ends_are_stops() -> None:
    assert "<|file_sep|>" in ending_of(Fim("a", "b"), format_name="qwen").stops


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [
        ("x = ", "\n", False),
        ("x = ", "", False),
        ("print(", ")\n", False),
        ('print("', '");\n', False),
        ("x = ", " + 1\n", True),
        ("foo(", "bar)\n", True),
        ("f() {", "}  // end\n", False),
        ("x = ", "  # note\n", True),
        ("a\n", "b\n", False),
        ("a\n    ", "b\n", False),
    ],
)
def test_the_middle_of_a_line_is_known(prefix: str, suffix: str, expected: bool) -> None:
    assert is_mid_line(prefix, suffix) is expected


def test_in_the_middle_of_a_line_one_line_is_made() -> None:
    ending = ending_of(Fim("x = ", " + 1\n"))

    assert cut("a\nb\n", ending, "x = ", " + 1\n") == "a"


def cases() -> list[tuple[str, str, str, str, str]]:
    """Real places in files: language, prefix, what is kept of an answer, what is cut, suffix.

    In the file each is one text, as the user sees it, with ‸ between its four parts.
    """
    text = (Path(__file__).parent / "endings.txt").read_text("utf-8")
    parts = re.split(r"(?m)^=== (.*)\n", text)[1:]
    found = []
    for language, body in zip(parts[::2], parts[1::2], strict=True):
        prefix, kept, dropped, suffix = body.removesuffix("\n").split("‸")
        found.append((language, prefix, kept, dropped, suffix))
    return found


@pytest.mark.parametrize(("language", "prefix", "kept", "dropped", "suffix"), cases())
def test_an_answer_ends_where_its_statement_block_or_paragraph_does(
    language: str, prefix: str, kept: str, dropped: str, suffix: str
) -> None:
    ending = ending_of(Fim(prefix, suffix, language=language_named(language)))

    assert cut(kept + dropped, ending, prefix, suffix) == kept
    assert streamed(list(kept + dropped), ending, prefix, suffix) == kept


@pytest.mark.parametrize(
    ("prefix", "text", "kept"),
    [
        ("x = ", "1\nsize = 2\nsize = 2\nsize = 2\nsize = 2\nsize = 2\n", "1\nsize = 2"),
        ("", "read()\nsave()\nread()\nsave()\nread()\nsave()\nstop()\n", "read()\nsave()"),
        ("read()\nsave()\n", "read()\nsave()\nread()\nsave()\nstop()\n", ""),
        ("", "    }\n" * 6, "    }\n" * 6),
        ("", "    end\n" * 6, "    end\n" * 6),
        ("", "0, 0,\n" * 6, "0, 0,\n" * 6),
        ("", "x = '" + "ab" * 200, "x = 'ab"),
    ],
)
def test_an_answer_that_repeats_itself_ends(prefix: str, text: str, kept: str) -> None:
    ending = Ending(follows_blocks=False)

    assert cut(text, ending, prefix) == kept
    assert streamed(list(text), ending, prefix) == kept


@pytest.mark.parametrize(
    ("prefix", "suffix", "text", "kept"),
    [
        ("x = foo(", ")\n", "a, b)", "a, b"),
        ("x = foo(", ")\n", "bar(a), b)\n", "bar(a), b"),
        ("x = a", ";\n", " + b;", " + b"),
        ("x = a", " + total;\n", " + b + total;", " + b"),
        ("print('", "')\n", "it\\'s')", "it\\'s"),
        ("def f():\n    ", "\n    return x\n", "x = 1\n    return x\n", "x = 1"),
        ("def f():\n    ", "\n    return  x\n", "x = 1\n    return x \n", "x = 1"),
        ("def f():\n    ", "\n    a()\n    b()\n", "x()\na()\nb()\n", "x()"),
        ("if x:\n    ", "\nlog(x)\n", "log(x)\n", "log(x)"),
        ("if x:\n    ", "\nlog(x)\n", "log(x)", "log(x)"),
        ("if x:\n    ", "\nstop()\n)\n", "y()\n    stop()\n    )\n", "y()\n    stop()\n    )"),
    ],
)
def test_what_follows_the_cursor_is_not_written_again(
    prefix: str, suffix: str, text: str, kept: str
) -> None:
    fim = Fim(prefix, suffix, language=language_named("Python"))

    assert cut(text, ending_of(fim), prefix, suffix).rstrip() == kept


def test_the_engine_can_be_stopped_as_soon_as_the_end_is_known() -> None:
    """A statement that is complete ends with its line: not a token more is waited for."""
    fim = Fim("x = ", "\n", language=language_named("Python"))
    cutter = Cutter(ending_of(fim), fim.prefix, fim.suffix)

    sent = [cutter.feed(part) for part in ("foo", "(1)", "\n", "y = 2")]

    assert sent == ["", "", "foo(1)", ""]
    assert cutter.is_done
    assert cutter.reason == "block"


def test_whole_lines_are_sent_while_the_answer_grows() -> None:
    fim = Fim("def f(x):\n    ", "\n", language=language_named("Python"))
    cutter = Cutter(ending_of(fim), fim.prefix, fim.suffix)

    sent = [cutter.feed(part) for part in ("y = x\n", "    z = y\n", "    return z\n", "print")]

    assert sent == ["y = x", "\n    z = y", "\n    return z", ""]
    assert not cutter.is_done  # the word may go on
    assert cutter.feed("(") == ""
    assert cutter.is_done


TEXT = st.text(st.sampled_from("ab \n#'<|>"), max_size=60)


@given(parts=st.lists(TEXT, max_size=8), is_single_line=st.booleans())
def test_streamed_and_whole_are_the_same(parts: list[str], is_single_line: bool) -> None:
    ending = Ending(stops=("<|a|>", "b b", "ab"), patterns=PATTERNS, is_single_line=is_single_line)

    assert streamed(parts, ending) == cut("".join(parts), ending)


BITS = st.sampled_from(
    [
        *("\n", "\n\n", "    ", "  ", "\t", "{", "}", "(", ")", "[", "]", '"', "'", "`", "#", "//"),
        *("/*", "*/", "x", " = ", "1", ";", ":", "if x", "else", "def f():", "end", "fi", "'''"),
        *("return y", "\\", "<|fim_pad|>", "<|", "class A", "{\n", "}\n", ");\n", "a\n", ",\n"),
        *("\r\n", "é", "@a\n", "case 1:"),
    ]
)
CODE = st.lists(BITS, max_size=30).map("".join)
LANGUAGES = st.sampled_from([case[0] for case in cases()] + ["TeX", "Markdown", "Fortran"])


@given(
    language=LANGUAGES,
    prefix=CODE,
    suffix=CODE,
    parts=st.lists(CODE, max_size=6),
    real=st.sampled_from([None, *cases()]),
)
def test_code_is_cut_the_same_however_it_arrives(
    language: str,
    prefix: str,
    suffix: str,
    parts: list[str],
    real: tuple[str, str, str, str, str] | None,
) -> None:
    if real:
        language, prefix, kept, dropped, suffix = real
        parts = [*parts[:2], kept, dropped, *parts[2:]]
    fim = Fim(prefix, suffix, language=language_named(language))
    ending = ending_of(fim, format_name="qwen", patterns=PATTERNS)

    whole = cut("".join(parts), ending, prefix, suffix)

    assert "".join(parts).startswith(whole)
    assert streamed(parts, ending, prefix, suffix) == whole
    assert streamed(list("".join(parts)), ending, prefix, suffix) == whole


@pytest.mark.parametrize(
    ("language", "prefix", "line"),
    [
        ("Python", "def f(x):\n    ", "value = compute(x, {'a': 1}, [1, 2])  # a note\n    "),
        ("Python", "@a\n", "@decorated\n"),
        ("C", "int f() {\n    int x = ", "a + b *\n    "),
        ("TypeScript", "const x = ", "{ a: 1 +\n"),
    ],
)
def test_a_long_answer_takes_no_longer_at_its_end(language: str, prefix: str, line: str) -> None:
    """No line is looked at again and again: twice the text is not four times the work."""
    ending = ending_of(Fim(prefix, "", language=language_named(language)))

    def seconds(num_lines: int) -> float:
        cutter = Cutter(ending, prefix, "")
        begun = time.process_time()
        for number in range(num_lines):
            cutter.feed(line.replace("a", f"a{number}"))
        assert not cutter.is_done
        return time.process_time() - begun

    seconds(10)
    assert seconds(1600) < 16 * max(seconds(400), 0.01)
