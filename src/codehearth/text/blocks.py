"""The end of what is being written at the cursor: a statement, a block or a paragraph.

What is being written is decided by where the cursor stands (`surroundings`):

1. In the middle of a statement: the statement, with its body if it has one.
2. At the beginning of a block: the whole block, with `else` and its like.
3. Anywhere else: the paragraph, which ends at an empty line, with a definition, or with the block
   around it.

Indentation and brackets tell where one ends; a language's grammar, where there is one, whether a
statement is complete. Nothing is written twice: what the text behind the cursor closes is not
closed once more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from codehearth.text.languages import Language
from codehearth.text.scanning import Closing
from codehearth.text.surroundings import Place, Surroundings, columns
from codehearth.text.syntax import is_complete

_MAX_PENDING_LINES = 3
# After so many looks the grammar finds nothing whole: the text is broken, or newer than it.
_MAX_LOOKS = 8
_MAX_HEADER = 240

# A line that begins so, as far left as the beginning, goes on with what stands above it.
_CONTINUES_INDENTED = re.compile(r"(?:else|elif|elseif|except|finally|in|then|where)\b|[)\]}]")
_CONTINUES_BRACED = re.compile(
    r"(?:else|catch|finally|while|where|instanceof)\b|[)\]}{.,;:?|=]|&&|->"
)
_CONTINUES_CPP = re.compile(rf"(?:public|private|protected)\b|{_CONTINUES_BRACED.pattern}")
_CONTINUES_WORDS = re.compile(
    r"(?:else|elif|elsif|elseif|rescue|ensure|catch|finally|then|do|fi|done|esac|end\w*|begin|where|"
    r"otherwise|until)\b|[)\]}.|]|</",
    re.IGNORECASE,
)
# What closes a block around the answer, in languages that close with a word or a tag, too.
_CLOSES_BRACKETS = re.compile(r"[)\]}]")
_CLOSES_WORDS = re.compile(r"(?:fi|done|esac|end\w*)\b|[)\]}]|</", re.IGNORECASE)
_WORDS_BY_BLOCKS = {
    "braces": (_CONTINUES_BRACED, _CLOSES_BRACKETS),
    "indentation": (_CONTINUES_INDENTED, _CLOSES_BRACKETS),
    "words": (_CONTINUES_WORDS, _CLOSES_WORDS),
}
_DEFINES = re.compile(
    r"(?:(?:export|default|public|private|protected|internal|static|async|pub(?:\([^)]*\))?|final|"
    r"abstract|override|virtual|inline|unsafe|extern|const|open|data|sealed|local|partial)\s+)*"
    r"(?:def|class|function\*?|fn|func|fun|struct|enum|trait|impl|interface|module|namespace|sub|"
    r"proc|procedure|defmodule|defp?|object|record|protocol|extension|macro_rules!|mod|union|"
    r"template|type)\b|[\w:<>,*&\[\]\s~]+\([^;]*\)\s*(?:const|throws\s+[\w,\s]+|->\s*[\w:<>&]+)?\s*\{"
)
_NOT_DEFINING = re.compile(r"(?:if|for|while|switch|catch|else|do|try|return|match|with|foreach)\b")
_DECORATES = re.compile(r"@|#\[|#!\[|\[[A-Z]\w*[\](]|template\s*<")
_MAY_GO_ON = re.compile(r"\b(?:if|else|try|catch|do)\b")
_ENDS_OPEN = re.compile(r"(?:[=+*/%&|<>,(\[{:\\?.-]|\b(?:and|or|not|in|is|then|do|of|=>))$")


@dataclass(frozen=True)
class Ended:
    """The text ends at `position`, an index into the answer."""

    position: int


class BlockEnd:
    """Follows one answer line by line: `head` when a line's first word is known, `line` when it
    is complete. Either says where the answer ends, once it does."""

    def __init__(self, language: Language | None, prefix: str, suffix: str) -> None:
        self._language = language.name if language else ""
        self._comment = language.comment_marks[0] if language else "#"
        self._statement_end = language.statement if language else None
        blocks = language.blocks if language else "words"
        self._is_braced = blocks == "braces"
        self._continues, self._closes = _WORDS_BY_BLOCKS[blocks]
        if self._language in ("C++", "Cuda", "Objective-C++"):
            self._continues = _CONTINUES_CPP
        self._around = Surroundings(language, prefix, suffix)
        self._scanner = self._around.scanner
        self._place: Place | None = None
        self._answer = self._last_line = ""
        self._end = 0  # of the last line that belongs to the answer
        self._num_blank = 0
        self._num_pending = 0
        self._has_code = False
        self._num_lines = 0
        self._num_definition_lines = 0
        self._num_looks = 0

    # --- The answer ---

    @property
    def end(self) -> int:
        """Up to here the answer is settled: whatever comes, this stays."""
        return self._end

    def head(self, start: int, line: str) -> Ended | None:
        """The first word of the line at `start` is known; None where the answer goes on."""
        first = self._around.cursor_line + line if start == 0 else line
        if self._scanner.is_in_text or (start == 0 and self._around.cursor_line.strip()):
            return None
        if self._place is None:
            self._place = self._around.place_of(columns(first))
        return self._ends_before(columns(first), first.strip())

    def line(self, start: int, line: str) -> Ended | None:
        """The line at `start` is complete; `line` is without its newline."""
        first = self._around.cursor_line + line if start == 0 else line
        was_in_text, depth = self._scanner.is_in_text, self._scanner.depth
        if cut := self._closed_too_much(start, line):
            return cut
        self._answer += line + "\n"
        self._scanner.end_line()
        self._num_lines += 1
        if not line.strip():
            self._num_blank += start > 0 or not self._around.cursor_line.strip()
            return None
        self._last_line = first
        if start == 0 and self._around.cursor_line.strip():
            self._place = self._around.place_of_cursor_line()
        self._settle(start, line)
        if not was_in_text and self._num_pending == 0:
            self._note(first, depth)
        too_many = self._num_pending > _MAX_PENDING_LINES
        return Ended(self._end) if too_many else self._is_complete_here(first.strip())

    def _closed_too_much(self, start: int, line: str) -> Ended | None:
        """Where the line closes what the suffix closes, or a string that the suffix ends."""
        if start == 0 and self._around.quote_of_suffix:
            end = _first_unescaped(line, self._around.quote_of_suffix)
            if end is not None:
                return Ended(end)
        for closing in self._scanner.read(line):
            if closing.depth < self._around.floor:
                return self._cut_at(start, line, closing)
        return None

    def _cut_at(self, start: int, line: str, closing: Closing) -> Ended:
        before = line[: closing.position]
        if start == 0 or before.strip():
            return Ended(start + closing.position)
        return Ended(self._end)

    def _settle(self, start: int, line: str) -> None:
        """A line that is not empty belongs to the answer; a comment further left may wait."""
        if self._num_pending and self._is_comment(line.strip()):
            self._num_pending += 1
            return
        self._num_pending = self._num_blank = 0
        self._end = start + len(line.rstrip())

    def _note(self, line: str, depth: int) -> None:
        """What kind of statement the line is a part of."""
        stripped, place = line.strip(), self._place
        if self._is_comment(stripped) or place is None:
            return
        self._has_code = True
        is_first = depth == self._around.depth and columns(line) == place.indent
        if is_first and not self._closes.match(stripped):
            self._num_definition_lines = 1 if _defines(stripped) else 0
        elif self._num_definition_lines:
            self._num_definition_lines += 1

    def _is_comment(self, stripped: str) -> bool:
        if self._comment == "#" and stripped.startswith(("#[", "#!")):
            return False
        return stripped.startswith((self._comment, "/*", "* ", "*/"))

    # --- Where it ends ---

    def _ends_before(self, indent: int, head: str) -> Ended | None:
        place = self._place
        if place is None or self._scanner.inside:
            return None
        if self._is_braced and head.startswith("#"):
            return None  # the preprocessor's lines stand where they like
        if self._is_comment_below(place, indent, head):
            self._num_pending = max(1, self._num_pending)
            return None
        depth = self._scanner.depth
        closes = self._closes.match(head) is not None
        if depth > place.depth and place.kind != "paragraph":
            return self._inside_brackets(place, indent, closes=closes)
        if place.kind == "paragraph":
            return self._paragraph_ends_before(place, indent, head, depth)
        if place.kind == "block":
            return self._block_ends_before(place, indent, head)
        return self._statement_ends_before(place, indent, head)

    def _is_comment_below(self, place: Place, indent: int, head: str) -> bool:
        """A comment further left says nothing by itself: what follows it does."""
        if place.kind == "statement" or not self._end or not self._is_comment(head):
            return False
        return indent < place.indent or (place.kind == "block" and indent == place.indent)

    def _inside_brackets(self, place: Place, indent: int, *, closes: bool) -> Ended | None:
        """Within brackets only what the suffix will close can end before it is closed."""
        is_ours = self._around.floor <= place.depth or self._scanner.depth > self._around.depth
        is_block = self._is_braced and self._scanner.open[-1].character == "{"
        if is_ours or closes or is_block or indent > place.indent:
            return None
        return Ended(self._end)

    def _block_ends_before(self, place: Place, indent: int, head: str) -> Ended | None:
        if indent > place.indent or (indent == place.indent and self._continues.match(head)):
            return None
        return Ended(self._end)

    def _statement_ends_before(self, place: Place, indent: int, head: str) -> Ended | None:
        if indent > place.indent or (indent == place.indent and self._continues.match(head)):
            return None
        if indent == place.indent and not self._is_whole_statement(place):
            return Ended(self._end) if self._num_blank and self._has_code else None
        return Ended(self._end)

    def _paragraph_ends_before(
        self, place: Place, indent: int, head: str, depth: int
    ) -> Ended | None:
        if depth > self._around.depth:
            return None
        if indent < place.indent:
            return self._leaves_block(place, indent, head)
        if indent > place.indent or not self._has_code or self._continues.match(head):
            return None
        if self._num_blank or self._num_definition_lines > 1:
            return Ended(self._end)
        return None

    def _leaves_block(self, place: Place, indent: int, head: str) -> Ended | None:
        """Further left than the paragraph: its block ends, with what closes it if that is ours."""
        if not self._closes.match(head):
            return Ended(self._end)
        if head[0] in ")]}":
            is_ours = self._around.floor < self._around.depth
        else:
            is_ours = self._around.suffix_indent != indent
        return None if is_ours else Ended(self._end)

    def _is_complete_here(self, stripped: str) -> Ended | None:
        """Where a line's end alone tells: a block's closing, a statement's semicolon."""
        place, depth = self._place, self._scanner.depth
        if place is None or self._scanner.inside:
            return None
        if place.kind == "paragraph":
            return Ended(self._end) if depth < self._around.depth else self._word_closed(stripped)
        if depth > place.depth:
            return None
        if place.kind == "block" and depth < self._around.depth:
            goes_on = _MAY_GO_ON.search(place.opener) is not None
            return None if goes_on else Ended(self._end)
        if place.kind == "statement" and self._ends_surely(stripped):
            return Ended(self._end) if self._is_whole_statement(place) else None
        return None

    def _word_closed(self, stripped: str) -> Ended | None:
        """`end`, `fi` and `</div>` further left than the paragraph closed the block around it."""
        assert self._place is not None
        is_left = self._num_lines > 1 and columns(self._last_line) < self._place.indent
        return Ended(self._end) if is_left and self._closes.match(stripped) else None

    def _ends_surely(self, stripped: str) -> bool:
        """Whether no next line can go on with a statement whose last line this is."""
        if self._statement_end == ";":
            return stripped.endswith(";")
        return (
            self._statement_end == "line"
            and not stripped.endswith((":", "\\"))
            and self._num_lines == 1
        )

    def _is_whole_statement(self, place: Place) -> bool:
        """By the grammar; by the look of its last line where there is none."""
        last = self._last_line.strip()
        if self._statement_end == "only ;":
            return last.endswith(";")
        if _DECORATES.match(last) or last.endswith((",", "\\")):
            return False
        whole = None
        if self._num_looks < _MAX_LOOKS:
            self._num_looks += 1
            whole = is_complete(self._language, place.start + self._answer.rstrip())
        return not _ENDS_OPEN.search(last) if whole is None else whole


def _first_unescaped(line: str, quote: str) -> int | None:
    found = re.match(rf"(?:[^\\{quote}]|\\.)*", line)
    assert found is not None
    return found.end() if found.end() < len(line) and line[found.end()] == quote else None


def _defines(stripped: str) -> bool:
    beginning = stripped[:_MAX_HEADER]
    return not _NOT_DEFINING.match(beginning) and _DEFINES.match(beginning) is not None
