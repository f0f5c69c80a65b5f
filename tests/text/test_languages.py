"""The table of languages is well formed, and each is found by all its names."""

from __future__ import annotations

from collections import Counter

import pytest

from codehearth.errors import InvalidRequest
from codehearth.text.languages import (
    find_language,
    language_named,
    language_of_file,
    languages,
)

# Those that CodeGeeX2 was told in training.
CODEGEEX2 = (
    *("c", "c++", "cpp", "c#", "csharp", "c-sharp", "css", "cuda", "dart", "lua", "objectivec"),
    *("objective-c", "objective-c++", "python", "perl", "prolog", "swift", "lisp", "java", "scala"),
    *("tex", "vue", "markdown", "html", "php", "js", "javascript", "typescript", "go", "shell"),
    *("rust", "sql", "kotlin", "vb", "ruby", "pascal", "r", "fortran", "lean", "matlab", "delphi"),
    *("scheme", "basic", "assembly", "groovy", "abap", "gdscript", "haskell", "julia", "elixir"),
    *("excel", "clojure", "actionscript", "solidity", "powershell", "erlang", "cobol", "alloy"),
    *("awk", "thrift", "sparql", "augeas", "cmake", "f-sharp", "stan", "isabelle", "dockerfile"),
    *("rmarkdown", "literate-agda", "tcl", "glsl", "antlr", "verilog", "racket", "standard-ml"),
    *("elm", "yaml", "smalltalk", "ocaml", "idris", "visual-basic", "protocol-buffer", "bluespec"),
    *("applescript", "makefile", "tcsh", "maple", "systemverilog", "literate-coffeescript"),
    *("vhdl", "restructuredtext", "sas", "literate-haskell", "java-server-pages", "coffeescript"),
    *("emacs-lisp", "mathematica", "xslt", "zig", "common-lisp", "stata", "agda", "ada"),
)


def test_there_are_more_than_a_hundred_languages() -> None:
    assert len(languages()) >= 100


@pytest.mark.parametrize("name", CODEGEEX2)
def test_the_languages_of_codegeex2_are_among_them(name: str) -> None:
    assert language_named(name) is not None


@pytest.mark.parametrize("name", languages())
def test_each_row_is_well_formed(name: str) -> None:
    language = languages()[name]

    opening, closing = language.comment_marks
    assert opening
    assert " " not in closing
    assert language.extensions or language.file_names
    assert all(e.startswith(".") and e == e.lower() for e in language.extensions + language.also)
    assert all(alias == alias.lower() for alias in language.aliases)
    assert language.blocks in ("braces", "indentation", "words")
    assert language.statement in (None, "line", ";", "only ;")
    assert "language:" in language.tag_line
    assert "\n" not in language.tag_line


def test_no_name_and_no_extension_is_claimed_twice() -> None:
    """What two languages share is in `also` of the one that does not get it."""
    rows = languages().values()
    claims = Counter(e for row in rows for e in (*row.extensions, *row.file_names))
    names = Counter(name.lower() for row in rows for name in (row.name, *row.aliases))

    assert [claim for claim, number in claims.items() if number > 1] == []
    assert [name for name, number in names.items() if number > 1] == []
    assert {extension for row in rows for extension in row.also} <= claims.keys()


@pytest.mark.parametrize(
    ("text", "tag_line"),
    [
        ("python", "# language: Python"),
        ("Python", "# language: Python"),
        (".py", "# language: Python"),
        ("py", "# language: Python"),
        ("cpp", "// language: C++"),
        ("html", "<!--language: HTML-->"),
        ("shell", "# language: Shell"),
        ("css", "/* language: CSS */"),
        ("ts", "// language: TypeScript"),
        ("typescriptreact", "// language: TypeScript"),
        ("Visual Basic", "' language: Visual Basic"),
        ("visual-basic", "' language: Visual Basic"),
    ],
)
def test_a_language_is_found_by_name_alias_and_extension(text: str, tag_line: str) -> None:
    assert find_language(text).tag_line == tag_line


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("app/main.py", "", "Python"),
        ("C:\\src\\Main.JAVA", "", "Java"),
        ("Makefile", "", "Makefile"),
        ("docker/Dockerfile", "", "Dockerfile"),
        ("Dockerfile.dev", "", "Dockerfile"),
        ("CMakeLists.txt", "", "CMake"),
        ("notes.txt", "", "Text"),
        ("README.md", "", "Markdown"),
        (".bashrc", "", "Bash"),
        ("a.h", "", "C"),
        ("a.m", "", "Objective-C"),
        ("tool", "#!/usr/bin/env python3\n", "Python"),
        ("tool", "#!/bin/sh\n", "Bash"),
        ("tool", "x = 1\n", None),
        ("tool.unknown", "", None),
        (".py", "", None),
        ("", "", None),
        (None, "", None),
    ],
)
def test_a_file_tells_its_language(path: str | None, text: str, name: str | None) -> None:
    found = language_of_file(path, text=text)

    assert (found.name if found else None) == name


def test_an_unknown_language_gets_a_suggestion() -> None:
    with pytest.raises(InvalidRequest) as caught:
        find_language("pyhton")

    assert "Python" in str(caught.value.hint)


def test_the_tag_line_stands_above_the_prompt() -> None:
    assert find_language("python").tagged("# sort\n") == "# language: Python\n# sort\n"
