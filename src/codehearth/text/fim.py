"""Fill-in-the-middle: what an editor asks, laid out as each family of models was trained.

A `Fim` is what stands around a cursor, whoever sent it and in whatever shape. `render` lays it out
for a family, `take_apart` reads it back from a prompt that a client laid out already, and `fit`
cuts it to a budget. The rows of families are in `fim_formats`; where an answer ends is for
`endings`.

The layout keeps its beginning while the user types: first the snippets in their order, then what
changes least. So an engine that kept the prompt of the keystroke before has little to read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from codehearth.errors import Unsupported
from codehearth.text.fim_formats import FIM_FORMATS, FimFormat
from codehearth.text.languages import Language

_DEFAULT_COMMENT = "#"
_UNTITLED = "untitled"
_HEADING = "+++++ "
# Of a budget, this share goes to what stands before the cursor if both sides need it.
_PREFIX_SHARE = 0.75


@dataclass(frozen=True)
class Snippet:
    """Text from elsewhere that helps: another file, a clipboard, a recent edit."""

    path: str | None
    text: str


@dataclass(frozen=True)
class Fim:
    """What stands before and after the cursor, and what is known about the place.

    The snippets stand in the order in which they are read: the most telling one last, next to
    the prefix.
    """

    prefix: str
    suffix: str
    path: str | None = None
    language: Language | None = None
    repository: str | None = None
    snippets: tuple[Snippet, ...] = ()


def render(format_name: str | None, fim: Fim, *, marks: Collection[str] = ()) -> str:
    """The prompt that asks a model of the family for what stands at the cursor.

    `marks` are the infilling marks as the model's vocabulary spells them (CodeLlama's with `▁`).
    Where a text holds one of the family's marks itself, the mark is broken by a blank: it would
    end the prefix early and answer another question, and a file that names marks can be edited
    like any other. Raises Unsupported where the model has no format.
    """
    if format_name is None or format_name not in FIM_FORMATS:
        raise Unsupported(
            "This model cannot fill in the middle: it was not trained with a suffix.",
            param="suffix",
            hint="leave out 'suffix', or use a model whose `hearth show` says it can infill",
        )
    layout = FIM_FORMATS[format_name]
    spelled = _spelled(layout, marks)
    return _LAYOUTS[spelled.context](spelled, _harmless(layout, fim))


def render_prefix(fim: Fim) -> str:
    """The prompt for a model that cannot infill: the snippets as comments, then the prefix.

    What stands after the cursor is not in it; whoever calls this says so to the client.
    """
    return _commented(fim) + fim.prefix


def _spelled(layout: FimFormat, marks: Collection[str]) -> FimFormat:
    """With the marks as the vocabulary has them; SentencePiece sets the blank behind them.

    Where it has no mark for files, they are written as comments.
    """
    spellings = {mark.strip("▁ "): mark for mark in marks if mark.startswith("▁")}
    knows_files = not marks or not _file_tokens(layout) or _file_tokens(layout) <= {*marks}

    def spelled(mark: str) -> str:
        return spellings.get(mark.strip(), mark)

    return replace(
        layout,
        prefix_mark=spelled(layout.prefix_mark),
        suffix_mark=spelled(layout.suffix_mark),
        middle_mark=spelled(layout.middle_mark),
        context=layout.context if knows_files else "comments",
    )


def _file_tokens(layout: FimFormat) -> set[str]:
    """The tokens that begin a file or a repository; empty where files are plain text."""
    if layout.context not in ("file marks", "path in prefix"):
        return set()
    return {layout.repository_mark, layout.file_mark}


def _harmless(layout: FimFormat, fim: Fim) -> Fim:
    """The same with the family's marks broken wherever a text holds one."""
    tokens = (*layout.tokens, *sorted(_file_tokens(layout)))

    def broken(text: str) -> str:
        for token in tokens:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    def one_line(text: str | None) -> str | None:
        return None if text is None else broken(" ".join(text.split()))

    return replace(
        fim,
        prefix=broken(fim.prefix),
        suffix=broken(fim.suffix),
        path=one_line(fim.path),
        repository=one_line(fim.repository),
        snippets=tuple(Snippet(one_line(s.path), broken(s.text)) for s in fim.snippets),
    )


# --- Layouts: one for each way that families write other files ---


def _middle(layout: FimFormat, prefix: str, suffix: str) -> str:
    before, after = layout.prefix_mark + prefix, layout.suffix_mark + suffix
    first, second = (after, before) if layout.is_suffix_first else (before, after)
    return first + second + layout.middle_mark


def _with_comments(layout: FimFormat, fim: Fim) -> str:
    """Snippets as comments at the beginning of the prefix."""
    return _middle(layout, _commented(fim) + fim.prefix, fim.suffix)


def _with_paths(layout: FimFormat, fim: Fim) -> str:
    """Files one after the other in the prefix, a comment with the path above each."""
    if not fim.snippets:
        return _middle(layout, fim.prefix, fim.suffix)
    mark = _comment_mark(fim)
    files = [f"{mark}{s.path or _UNTITLED}\n{_ended(s.text)}" for s in fim.snippets]
    here = f"{mark}{fim.path or _UNTITLED}\n"
    return _middle(layout, "\n".join(files) + "\n" + here + fim.prefix, fim.suffix)


def _with_file_marks(layout: FimFormat, fim: Fim) -> str:
    """Qwen's layout of a repository: the marks of the middle stand behind the path's line."""
    if not fim.snippets:
        return _middle(layout, fim.prefix, fim.suffix)
    head = f"{layout.repository_mark}{fim.repository or _UNTITLED}\n"
    files = [f"{layout.file_mark}{s.path or _UNTITLED}\n{_ended(s.text)}" for s in fim.snippets]
    here = f"{layout.file_mark}{fim.path or _UNTITLED}\n"
    return head + "".join(files) + here + _middle(layout, fim.prefix, fim.suffix)


def _with_path_in_prefix(layout: FimFormat, fim: Fim) -> str:
    """StarCoder2's layout of a repository: the path's line stands inside the prefix."""
    if not fim.snippets:
        return _middle(layout, fim.prefix, fim.suffix)
    head = f"{layout.repository_mark}{fim.repository or _UNTITLED}"
    files = [f"{layout.file_mark}{s.path or _UNTITLED}\n{s.text}" for s in fim.snippets]
    here = f"{fim.path or _UNTITLED}\n"
    return head + "".join(files) + layout.file_mark + _middle(layout, here + fim.prefix, fim.suffix)


def _with_headings(layout: FimFormat, fim: Fim) -> str:
    """Codestral's: each file under `+++++ path`, the last one is where the cursor is."""
    if not fim.snippets:
        return _middle(layout, fim.prefix, fim.suffix)
    paths = [(s.path or _UNTITLED, _ended(s.text)) for s in fim.snippets]
    files = [f"{_HEADING}{path}\n{text}\n" for path, text in paths]
    here = f"{_HEADING}{fim.path or _UNTITLED}\n"
    return _middle(layout, "".join(files) + here + fim.prefix, fim.suffix)


def _with_references(layout: FimFormat, fim: Fim) -> str:
    """CodeGeeX4's: a turn of the user that names references, path, language and mode."""
    references = [
        f"###REFERENCE:\n###PATH:{s.path or _UNTITLED}\n{_ended(s.text)}" for s in fim.snippets
    ]
    language = fim.language.name if fim.language else ""
    return (
        "[gMASK]<sop><|user|>\n"
        + "".join(references)
        + f"###PATH:{fim.path or ''}\n###LANGUAGE:{language}\n###MODE:BLOCK\n"
        + _middle(layout, fim.prefix, fim.suffix)
    )


_LAYOUTS: dict[str, Callable[[FimFormat, Fim], str]] = {
    "comments": _with_comments,
    "paths": _with_paths,
    "file marks": _with_file_marks,
    "path in prefix": _with_path_in_prefix,
    "headings": _with_headings,
    "references": _with_references,
}


def _commented(fim: Fim) -> str:
    """The snippets as comments of the file's language, each under its path."""
    opening, closing = fim.language.comment_marks if fim.language else (_DEFAULT_COMMENT, "")
    end = f" {closing}" if closing else ""
    lines: list[str] = []
    for snippet in fim.snippets:
        lines += [f"Path: {snippet.path}"] if snippet.path else []
        lines += snippet.text.splitlines()
    return "".join(f"{opening} {line}".rstrip() + f"{end}\n" for line in lines)


def _comment_mark(fim: Fim) -> str:
    return fim.language.comment_marks[0] if fim.language else _DEFAULT_COMMENT


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


# --- Taking a client's template apart ---

# What may stand before a template: the token that begins a document, and the layouts of files.
_OPENING = re.compile(
    r"(?:<s>|<bos>|<\|endoftext\|>|<\|begin_of_text\|>|<｜begin▁of▁sentence｜>|\[gMASK\]|<sop>|"
    r"<\[begin▁of▁sentence\]>)*"
)
_FILE_MARKS = ("<|repo_name|>", "<|file_sep|>", "<repo_name>", "<file_sep>", "<|user|>\n###")


def take_apart(text: str) -> Fim | None:
    """The parts of a prompt that a client laid out for any family; None where it is plain text.

    A file may hold such marks, too, say a test of an editor. So a prompt counts as laid out only
    where nothing but the family's own words stands before the first mark, or where the last mark
    is its very end.
    """
    return next((fim for marks in _MARKS if (fim := _taken_apart(text, marks))), None)


@dataclass(frozen=True)
class _Marks:
    """The three texts of one spelling, as clients write them."""

    prefix: str
    suffix: str
    middle: str


def _spellings() -> tuple[_Marks, ...]:
    """Each family's marks once, the longest first: a shorter one may be a part of it."""
    found = dict.fromkeys(
        _Marks(layout.prefix_mark.strip("▁ "), layout.suffix_mark.strip("▁ "), middle)
        for layout in FIM_FORMATS.values()
        for middle in [layout.middle_mark.strip("▁ ")]
    )
    return tuple(sorted(found, key=lambda marks: -len(marks.suffix)))


def _taken_apart(text: str, marks: _Marks) -> Fim | None:
    """
    1. All marks are there, each in its place. Without a mark for the middle (Codestral) only the
       family's own order counts, and nothing may stand before it.
    2. Suffix first or prefix first; text behind the middle mark continues the prefix, so that
       StarCoder's second order (prefix, suffix, middle, then the prefix's text) comes right.
    3. What stands before is the beginning of a document and files, else it is the prefix's own.
    """
    text = _OPENING.sub("", text, count=1)
    at_suffix = text.find(marks.suffix)
    at_prefix = text.find(marks.prefix)  # at 0 for InCoder, whose prefix has no mark
    at_middle = text.rfind(marks.middle) if marks.middle else len(text)
    begin, is_suffix_first = min(at_prefix, at_suffix), at_suffix < at_prefix
    if begin < 0 or at_middle < max(at_prefix, at_suffix):
        return None  # 1
    if not marks.middle and not (is_suffix_first and not text[:begin].strip()):
        return None
    if is_suffix_first:
        suffix = text[at_suffix + len(marks.suffix) : at_prefix]
        prefix = text[at_prefix + len(marks.prefix) : at_middle]
    else:
        prefix = text[at_prefix + len(marks.prefix) : at_suffix]
        suffix = text[at_suffix + len(marks.suffix) : at_middle]
    before, behind = text[:begin].lstrip(), text[at_middle + len(marks.middle) :]
    is_ended = not behind.strip() or behind.strip() == "<|assistant|>"
    if before and not is_ended and not before.startswith(_FILE_MARKS):
        return None
    if marks.prefix == "<PRE>":
        prefix, suffix = _without_blanks(prefix, suffix, is_suffix_first=is_suffix_first)
    if not is_ended:
        prefix += behind  # 2
    fim = Fim(prefix=prefix, suffix=suffix)
    return _with_files(fim, before) if before else _with_headed_files(fim)  # 3


def _without_blanks(prefix: str, suffix: str, *, is_suffix_first: bool) -> tuple[str, str]:
    """CodeLlama's layout sets a blank after <PRE> and before <SUF> and <MID>."""
    return prefix.removeprefix(" ").removesuffix(" "), suffix.removesuffix(" ")


def _with_files(fim: Fim, before: str) -> Fim:
    """The files before the middle: Qwen's and StarCoder2's marks, or CodeGeeX4's references."""
    if before.startswith("<|user|>\n###"):
        return _with_taken_references(fim, before)
    if not before.startswith(_FILE_MARKS):
        return replace(fim, prefix=before + fim.prefix)
    is_qwen = before.startswith("<|")
    repository_mark, file_mark = (
        ("<|repo_name|>", "<|file_sep|>")
        if is_qwen
        else (
            "<repo_name>",
            "<file_sep>",
        )
    )
    head, *files = before.split(file_mark)
    repository = head.removeprefix(repository_mark).strip() or None
    *snippets, here = [_snippet_of(file) for file in files] or [Snippet(None, "")]
    path, prefix = here.path, fim.prefix
    if not is_qwen:  # the path's line stands inside the prefix
        first_line, _, rest = fim.prefix.partition("\n")
        path, prefix = first_line.strip() or None, rest
    elif here.text.strip():
        snippets, path = [*snippets, here], None
    return replace(fim, prefix=prefix, path=path, repository=repository, snippets=tuple(snippets))


def _snippet_of(file: str) -> Snippet:
    path, _, text = file.partition("\n")
    return Snippet(path.strip() or None, text)


def _with_taken_references(fim: Fim, before: str) -> Fim:
    from codehearth.text.languages import language_named

    files = before.removeprefix("<|user|>\n").split("###PATH:")[1:]
    *references, here = [_snippet_of(file.removesuffix("###REFERENCE:\n")) for file in files] or [
        Snippet(None, "")
    ]
    name = re.search(r"###LANGUAGE:(.*)", here.text)
    return replace(
        fim,
        path=here.path,
        language=language_named(name[1]) if name else None,
        snippets=tuple(references),
    )


def _with_headed_files(fim: Fim) -> Fim:
    """Codestral's files under `+++++ path` at the beginning of the prefix."""
    if not fim.prefix.startswith(_HEADING):
        return fim
    *files, here = [_snippet_of(file) for file in re.split(r"(?m)^\+{5} ", fim.prefix)[1:]]
    return replace(fim, prefix=here.text, path=here.path, snippets=tuple(files))


_MARKS = _spellings()


# --- Fitting a budget ---


@dataclass(frozen=True)
class Fitted:
    """What fits a budget, and what had to go for it: counts of snippets and of lines."""

    fim: Fim
    num_dropped_snippets: int = 0
    num_cut_prefix_lines: int = 0
    num_cut_suffix_lines: int = 0

    @property
    def is_cut(self) -> bool:
        return bool(
            self.num_dropped_snippets or self.num_cut_prefix_lines or self.num_cut_suffix_lines
        )

    def __str__(self) -> str:
        """What was cut, for a header or a person; empty where all fits."""
        parts = (
            (self.num_dropped_snippets, "snippet"),
            (self.num_cut_prefix_lines, "line before the cursor"),
            (self.num_cut_suffix_lines, "line after the cursor"),
        )
        return ", ".join(f"{n} {_plural(what, n)}" for n, what in parts if n)


def _plural(what: str, count: int) -> str:
    first, _, rest = what.partition(" ")
    return what if count == 1 else f"{first}s{' ' + rest if rest else ''}"


def fit(fim: Fim, budget: int, *, count: Callable[[str], int] = len) -> Fitted:
    """As much of `fim` as the budget holds, cut around the cursor at the ends of lines.

    `count` measures a text in the budget's unit: characters unless given, tokens where somebody
    counts them. Snippets go first, the first ones before the last, since those next to the
    prefix tell most. Of a line that alone is too long its nearest part is kept.
    """
    before, after = count(fim.prefix), count(fim.suffix)
    snippets = fim.snippets
    sizes = [count(snippet.text) + count(snippet.path or "") for snippet in snippets]
    while snippets and before + after + sum(sizes) > budget:
        snippets, sizes = snippets[1:], sizes[1:]
    num_dropped = len(fim.snippets) - len(snippets)
    if before + after <= budget:
        return Fitted(replace(fim, snippets=snippets), num_dropped_snippets=num_dropped)
    for_prefix = max(int(budget * _PREFIX_SHARE), budget - after)
    prefix = _last_lines(fim.prefix, min(for_prefix, budget), count)
    suffix = _first_lines(fim.suffix, budget - count(prefix), count)
    return Fitted(
        replace(fim, prefix=prefix, suffix=suffix, snippets=snippets),
        num_dropped_snippets=num_dropped,
        num_cut_prefix_lines=_num_lines(fim.prefix) - _num_lines(prefix) or prefix != fim.prefix,
        num_cut_suffix_lines=_num_lines(fim.suffix) - _num_lines(suffix) or suffix != fim.suffix,
    )


def _num_lines(text: str) -> int:
    return text.count("\n") + (not text.endswith("\n") and text != "")


def _last_lines(text: str, budget: int, count: Callable[[str], int]) -> str:
    kept, left = [], budget
    for line in reversed(text.splitlines(keepends=True)):
        left -= count(line)
        if left < 0:
            break
        kept.append(line)
    return "".join(reversed(kept)) or _longest(
        text, budget, count, part=lambda n: text[len(text) - n :]
    )


def _first_lines(text: str, budget: int, count: Callable[[str], int]) -> str:
    kept, left = [], budget
    for line in text.splitlines(keepends=True):
        left -= count(line)
        if left < 0:
            break
        kept.append(line)
    return "".join(kept) or _longest(text, budget, count, part=lambda n: text[:n])


def _longest(
    text: str, budget: int, count: Callable[[str], int], *, part: Callable[[int], str]
) -> str:
    """The longest part that the budget holds, by halving."""
    low, high = 0, min(len(text), max(budget, 0) * 8)
    while low < high:
        half = (low + high + 1) // 2
        low, high = (half, high) if count(part(half)) <= budget else (low, half - 1)
    return part(low)


def fim_format_of(marks: Collection[str], *, preferred: str | None) -> str | None:
    """The format whose marks a vocabulary holds, `preferred` first; None where it holds none.

    `marks` are the infilling marks found in the model's vocabulary.
    """
    known = {mark.strip("▁ ") for mark in marks}
    names = [preferred] if preferred else list(FIM_FORMATS)
    fitting = [
        name for name in names if name in FIM_FORMATS and known.issuperset(FIM_FORMATS[name].tokens)
    ]
    # Families share marks; which of them it is, the mark of a file tells.
    exact = [name for name in fitting if {FIM_FORMATS[name].file_mark} <= known | {""}]
    return next(iter(exact or fitting), None)
