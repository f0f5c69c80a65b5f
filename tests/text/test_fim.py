"""Infilling prompts: laid out for each family, taken apart again, cut to a budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.errors import Unsupported
from codehearth.text.fim import Fim, Snippet, fim_format_of, fit, render, render_prefix, take_apart
from codehearth.text.fim_formats import FIM_FORMATS
from codehearth.text.languages import find_language

PYTHON = find_language("python")


@pytest.mark.parametrize(
    ("format_name", "prompt"),
    [
        ("qwen", "<|fim_prefix|>a(<|fim_suffix|>)\n<|fim_middle|>"),
        ("codegemma", "<|fim_prefix|>a(<|fim_suffix|>)\n<|fim_middle|>"),
        ("starcoder", "<fim_prefix>a(<fim_suffix>)\n<fim_middle>"),
        ("starcoder2", "<fim_prefix>a(<fim_suffix>)\n<fim_middle>"),
        ("granite", "<fim_prefix>a(<fim_suffix>)\n<fim_middle>"),
        ("santacoder", "<fim-prefix>a(<fim-suffix>)\n<fim-middle>"),
        ("deepseek", "<｜fim▁begin｜>a(<｜fim▁hole｜>)\n<｜fim▁end｜>"),
        ("codellama", "<PRE> a( <SUF>)\n <MID>"),
        ("codestral", "[SUFFIX])\n[PREFIX]a("),
        ("seed", "<[fim-suffix]>)\n<[fim-prefix]>a(<[fim-middle]>"),
        ("incoder", "a(<|mask:0|>)\n<|mask:1|><|mask:0|>"),
        ("glm", "<|code_prefix|>a(<|code_suffix|>)\n<|code_middle|>"),
        (
            "codegeex",
            "[gMASK]<sop><|user|>\n###PATH:\n###LANGUAGE:\n###MODE:BLOCK\n"
            "<|code_suffix|>)\n<|code_prefix|>a(<|code_middle|><|assistant|>\n",
        ),
    ],
)
def test_each_family_gets_its_own_layout(format_name: str, prompt: str) -> None:
    assert render(format_name, Fim("a(", ")\n")) == prompt


REPOSITORY = Fim(
    prefix="def f(",
    suffix="):\n    pass\n",
    path="app/main.py",
    language=PYTHON,
    repository="shop",
    snippets=(Snippet("app/tools.py", "def tool():\n    ...\n"), Snippet(None, "X = 1")),
)


@pytest.mark.parametrize(
    ("format_name", "prompt"),
    [
        (
            "qwen",
            "<|repo_name|>shop\n<|file_sep|>app/tools.py\ndef tool():\n    ...\n"
            "<|file_sep|>untitled\nX = 1\n<|file_sep|>app/main.py\n"
            "<|fim_prefix|>def f(<|fim_suffix|>):\n    pass\n<|fim_middle|>",
        ),
        (
            "starcoder2",
            "<repo_name>shop<file_sep>app/tools.py\ndef tool():\n    ...\n"
            "<file_sep>untitled\nX = 1<file_sep><fim_prefix>app/main.py\ndef f("
            "<fim_suffix>):\n    pass\n<fim_middle>",
        ),
        (
            "codestral",
            "[SUFFIX]):\n    pass\n[PREFIX]+++++ app/tools.py\ndef tool():\n    ...\n\n"
            "+++++ untitled\nX = 1\n\n+++++ app/main.py\ndef f(",
        ),
        (
            "deepseek",
            "<｜fim▁begin｜>#app/tools.py\ndef tool():\n    ...\n\n#untitled\nX = 1\n\n"
            "#app/main.py\ndef f(<｜fim▁hole｜>):\n    pass\n<｜fim▁end｜>",
        ),
        (
            "codellama",
            "<PRE> # Path: app/tools.py\n# def tool():\n#     ...\n# X = 1\ndef f("
            " <SUF>):\n    pass\n <MID>",
        ),
        (
            "codegeex",
            "[gMASK]<sop><|user|>\n###REFERENCE:\n###PATH:app/tools.py\ndef tool():\n    ...\n"
            "###REFERENCE:\n###PATH:untitled\nX = 1\n"
            "###PATH:app/main.py\n###LANGUAGE:Python\n###MODE:BLOCK\n"
            "<|code_suffix|>):\n    pass\n<|code_prefix|>def f(<|code_middle|><|assistant|>\n",
        ),
    ],
)
def test_other_files_are_laid_out_as_the_family_knows_it(format_name: str, prompt: str) -> None:
    assert render(format_name, REPOSITORY) == prompt


@pytest.mark.parametrize("format_name", FIM_FORMATS)
def test_the_beginning_stays_the_same_while_the_user_types(format_name: str) -> None:
    """What an engine kept of the keystroke before is all but the last few characters."""
    typed = render(format_name, REPOSITORY)
    longer = render(format_name, Fim(**{**vars(REPOSITORY), "prefix": "def f(a, b"}))

    pairs = enumerate(zip(typed, longer, strict=False))
    same = next((i for i, (a, b) in pairs if a != b), len(typed))

    assert same >= typed.rindex("def f(") + len("def f(")


@pytest.mark.parametrize("format_name", [None, "poetry"])
def test_a_model_without_a_format_says_so(format_name: str | None) -> None:
    with pytest.raises(Unsupported, match="cannot fill in the middle") as caught:
        render(format_name, Fim("a", "b"))

    assert caught.value.param == "suffix"


def test_a_model_that_cannot_infill_continues_the_prefix() -> None:
    assert render_prefix(REPOSITORY) == (
        "# Path: app/tools.py\n# def tool():\n#     ...\n# X = 1\ndef f("
    )


@pytest.mark.parametrize("format_name", FIM_FORMATS)
def test_a_mark_in_the_users_text_does_not_act(format_name: str) -> None:
    layout = FIM_FORMATS[format_name]
    plain = render(format_name, Fim("a", "b", snippets=(Snippet("p", "t"),)))
    for token in layout.tokens:
        marked = Fim(f"a{token}", f"{token}b", snippets=(Snippet(f"p{token}", f"t{token}"),))

        assert render(format_name, marked).count(token) == plain.count(token)


def test_marks_are_written_as_the_vocabulary_spells_them() -> None:
    """SentencePiece sets the blank itself, and an engine looks for the token's own text."""
    marks = {"▁<PRE>", "▁<SUF>", "▁<MID>"}

    assert render("codellama", Fim("a", "b"), marks=marks) == "▁<PRE>a▁<SUF>b▁<MID>"


@pytest.mark.parametrize("format_name", FIM_FORMATS)
@pytest.mark.parametrize("bos", ["", "<s>", "<｜begin▁of▁sentence｜>"])
def test_every_layout_is_taken_apart_again(format_name: str, bos: str) -> None:
    fim = Fim("def f(", "):\n    pass\n")

    apart = take_apart(bos + render(format_name, fim))

    assert apart is not None
    assert (apart.prefix, apart.suffix) == (fim.prefix, fim.suffix)


@pytest.mark.parametrize("format_name", ["qwen", "starcoder2", "codestral", "codegeex"])
def test_the_files_of_a_layout_are_taken_apart_too(format_name: str) -> None:
    apart = take_apart(render(format_name, REPOSITORY))

    assert apart is not None
    assert (apart.prefix, apart.suffix) == (REPOSITORY.prefix, REPOSITORY.suffix)
    assert apart.path == "app/main.py"
    assert [snippet.path for snippet in apart.snippets] == ["app/tools.py", "untitled"]
    assert [s.text.strip() for s in apart.snippets] == ["def tool():\n    ...", "X = 1"]
    if format_name in ("qwen", "starcoder2"):
        assert apart.repository == "shop"


@pytest.mark.parametrize(
    ("prompt", "prefix", "suffix"),
    [
        ("<fim_suffix>b<fim_prefix>a<fim_middle>", "a", "b"),
        ("<fim_prefix><fim_suffix>b<fim_middle>a", "a", "b"),
        ("<PRE> a <SUF>b <MID>", "a", "b"),
        ("<PRE> <SUF>b <MID> a", " a", "b"),
        ("<｜fim▁begin｜>a<｜fim▁hole｜>b<｜fim▁end｜>\n", "a", "b"),
        ("# a note\n<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>", "# a note\na", "b"),
        ("<|fim_prefix|>a<|fim_suffix|><|fim_middle|>", "a", ""),
    ],
)
def test_other_orders_are_taken_apart(prompt: str, prefix: str, suffix: str) -> None:
    assert take_apart(prompt) == Fim(prefix, suffix)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def f():\n    return 1\n",
        "<|fim_prefix|>only one",
        "MARKS = ['<fim_prefix>', '<fim_suffix>', '<fim_middle>']\nprint(",
        "log('[PREFIX]')\nlog('[SUFFIX]')\nx = ",
    ],
)
def test_plain_text_stays_plain(text: str) -> None:
    assert take_apart(text) is None


CODE = st.text(st.sampled_from("ab (){}:\n\t#<>|[]é字"), max_size=40)


@given(prefix=CODE, suffix=CODE, format_name=st.sampled_from(sorted(FIM_FORMATS)))
def test_nothing_is_lost_between_layout_and_taking_apart(
    prefix: str, suffix: str, format_name: str
) -> None:
    if format_name == "incoder":  # its prefix has no mark of its own to begin with
        prefix = "x" + prefix.strip()

    apart = take_apart(render(format_name, Fim(prefix, suffix)))

    assert apart is not None
    assert (apart.prefix, apart.suffix) == (prefix, suffix)


QWEN_MARKS = {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"}


@pytest.mark.parametrize(
    ("marks", "preferred", "expected"),
    [
        (QWEN_MARKS, None, "qwen"),
        (QWEN_MARKS, "codegemma", "codegemma"),
        (QWEN_MARKS, "starcoder", None),
        ({"▁<PRE>", "▁<SUF>", "▁<MID>"}, None, "codellama"),
        (set(), "qwen", None),
        (set(), None, None),
    ],
)
def test_a_format_counts_only_if_the_vocabulary_has_its_marks(
    marks: set[str], preferred: str | None, expected: str | None
) -> None:
    assert fim_format_of(marks, preferred=preferred) == expected


LINES = Fim("one\ntwo\nthree", " four\nfive\nsix\n", snippets=(Snippet("a", "x" * 9),) * 3)


@pytest.mark.parametrize(
    ("budget", "prefix", "suffix", "num_snippets", "said"),
    [
        (100, LINES.prefix, LINES.suffix, 3, ""),
        (50, LINES.prefix, LINES.suffix, 2, "1 snippet"),
        (28, LINES.prefix, LINES.suffix, 0, "3 snippets"),
        (27, LINES.prefix, " four\nfive\n", 0, "3 snippets, 1 line after the cursor"),
        (
            14,
            "two\nthree",
            " four",
            0,
            "3 snippets, 1 line before the cursor, 2 lines after the cursor",
        ),
        (0, "", "", 0, "3 snippets, 3 lines before the cursor, 3 lines after the cursor"),
    ],
)
def test_what_does_not_fit_is_cut_around_the_cursor(
    budget: int, prefix: str, suffix: str, num_snippets: int, said: str
) -> None:
    fitted = fit(LINES, budget)

    assert (fitted.fim.prefix, fitted.fim.suffix) == (prefix, suffix)
    assert len(fitted.fim.snippets) == num_snippets
    assert str(fitted) == said
    assert fitted.is_cut == bool(said)


@given(prefix=CODE, suffix=CODE, budget=st.integers(0, 90))
def test_what_is_kept_fits_and_lies_around_the_cursor(
    prefix: str, suffix: str, budget: int
) -> None:
    fitted = fit(Fim(prefix, suffix), budget)

    assert len(fitted.fim.prefix) + len(fitted.fim.suffix) <= budget or not fitted.is_cut
    assert prefix.endswith(fitted.fim.prefix)
    assert suffix.startswith(fitted.fim.suffix)
    assert fitted.is_cut == ((fitted.fim.prefix, fitted.fim.suffix) != (prefix, suffix))
