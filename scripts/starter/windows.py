"""Rows of tokens to train on, made on the fly from one seed a row: text in, arrays out.

A row is filled with whole documents, each its own segment that sees nothing of the others, so the
model learns what it meets when it is asked: a text that starts at its beginning.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from tokenizers import Tokenizer

from . import tokenizer as vocabulary
from .corpus import SourceFile

CHARACTERS_A_TOKEN = 3.6
TAUGHT_PLACES = (("project", "main.py"), ("tools", "src/tools.py"), ("demo", "utils.py"))


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: str
    content: str


Conversation = tuple[Turn, ...]


@dataclass
class Row:
    """Inputs, the tokens that follow them, and segments, all of one length."""

    inputs: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)

    def room(self, length: int) -> int:
        return length - len(self.inputs)

    def add(self, ids: Sequence[int], length: int) -> None:
        """Append one document as a new segment, cut at the row's end."""
        segment = self.segments[-1] + 1 if self.segments else 0
        num_pairs = min(len(ids) - 1, self.room(length))
        self.inputs += ids[:num_pairs]
        self.targets += ids[1 : num_pairs + 1]
        self.segments += [segment] * num_pairs


@dataclass(frozen=True)
class Mixture:
    """What a row is made of; the shares are of documents drawn, the card gives those of tokens."""

    tokenizer: Tokenizer
    files: dict[str, tuple[SourceFile, ...]]
    shares: dict[str, float]  # of "chat", "taught" and each key of `files`
    conversation: Callable[[random.Random], Conversation]
    taught_code: Callable[[random.Random], str]
    fim_share: float = 0.6
    taught_fim_share: float = 0.75
    cut_share: float = 0.6
    opening_share: float = 0.8
    repository_share: float = 0.15
    slice_tokens: tuple[int, ...] = (192, 256, 384, 1024)

    def row(self, seed: str, length: int) -> Row:
        """The same seed gives the same row, on every machine and after every resume."""
        rng = random.Random(seed)
        row = Row()
        while row.room(length) > 0:
            kind = rng.choices(list(self.shares), list(self.shares.values()))[0]
            if kind == "chat":
                ids = self._fitting_conversation(rng, row.room(length))
                if ids:
                    row.add(ids, length)
                    continue
                kind = "stdlib"
                slice_tokens = row.room(length)
            else:
                slice_tokens = min(row.room(length), rng.choice(self.slice_tokens))
            ids = self._code(rng, kind, slice_tokens)
            row.add(ids, length)
        return row

    @cached_property
    def _lengths(self) -> dict[str, list[int]]:
        """Characters of a source's files, summed up: a long file is drawn more often."""
        return {
            source: list(accumulate(len(file.text) for file in files))
            for source, files in self.files.items()
        }

    def _fitting_conversation(self, rng: random.Random, room: int) -> list[int]:
        """A conversation that fits whole, or nothing after three tries."""
        for _ in range(3):
            conversation = self.conversation(rng)
            if rng.random() < self.opening_share:
                ids = encode_opening(self.tokenizer, conversation)
            else:
                ids = encode_conversation(self.tokenizer, conversation)
            if len(ids) - 1 <= room:
                return ids
        return []

    def _code(self, rng: random.Random, kind: str, room: int) -> list[int]:
        if kind == "taught":
            text, is_whole, fim_share = self.taught_code(rng), True, self.taught_fim_share
            place = rng.choice(TAUGHT_PLACES)
        else:
            fim_share = self.fim_share
            file = rng.choices(self.files[kind], cum_weights=self._lengths[kind])[0]
            text, is_whole = file_slice(rng, file.text, int(room * CHARACTERS_A_TOKEN) + 40)
            place = (file.package, file.path)
        if rng.random() < self.repository_share:
            head = vocabulary.encode(self.tokenizer, repository_head(*place))
            return head + self._document(rng, text, is_whole, fim_share, max(room - len(head), 32))
        return self._document(rng, text, is_whole, fim_share, room)

    def _document(
        self, rng: random.Random, text: str, is_whole: bool, fim_share: float, room: int
    ) -> list[int]:
        """The tokens of one text, cut for infilling or as it is."""
        end = [vocabulary.token_id(self.tokenizer, vocabulary.END_OF_TEXT)]
        if rng.random() < fim_share:
            # The middle comes last, so a text that does not fit would lose just that.
            text_to_fill = text[: int(room * 3.0)]
            while len(text_to_fill) > 40:
                ids = encode_infilling(self.tokenizer, rng, text_to_fill) + end
                if len(ids) <= room + 1:
                    return ids
                text_to_fill = text_to_fill[: len(text_to_fill) * 3 // 4]
        return encode_cut(self.tokenizer, rng, text, self.cut_share) + (end if is_whole else [])


def file_slice(rng: random.Random, text: str, max_characters: int) -> tuple[str, bool]:
    """A part of a file that starts at a line's beginning, and whether it reaches the file's end.

    One slice in ten starts where the file starts, half of the others where a definition does.
    """
    choice = rng.random()
    if choice < 0.1 or len(text) <= max_characters:
        start = 0
    else:
        mark = "\ndef " if choice < 0.35 else "\nclass " if choice < 0.45 else "\n"
        start = text.find(mark, rng.randrange(len(text) - max_characters // 2)) + 1
    return text[start : start + max_characters], start + max_characters >= len(text)


def repository_head(repository: str, path: str) -> str:
    """What Qwen's models see above a file of a repository (Qwen2.5-Coder, repository level)."""
    return f"{vocabulary.REPO_NAME}{repository}\n{vocabulary.FILE_SEPARATOR}{path}\n"


def encode_cut(tokenizer: Tokenizer, rng: random.Random, text: str, cut_share: float) -> list[int]:
    """Tokens of a text, often cut anywhere into two parts that are encoded apart.

    The pattern fuses `):` with the newline after it: without cuts, a prompt that ends at `:` is
    a text the model has never seen. So every second cut is at a line's end.
    """
    if rng.random() >= cut_share or len(text) < 2:
        return vocabulary.encode(tokenizer, text)
    at = rng.randrange(1, len(text))
    if rng.random() < 0.5:
        at = max(text.find("\n", at), 1)
    return vocabulary.encode(tokenizer, text[:at]) + vocabulary.encode(tokenizer, text[at:])


def encode_infilling(tokenizer: Tokenizer, rng: random.Random, text: str) -> list[int]:
    """Prefix, suffix and middle, in both orders llama.cpp's `/infill` can send (Bavarian 2022)."""
    start, end = middle_span(rng, text)
    prefix, suffix = (vocabulary.encode(tokenizer, t) for t in (text[:start], text[end:]))
    middle = vocabulary.encode(tokenizer, text[start:end])
    mark = {
        token: vocabulary.token_id(tokenizer, token)
        for token in (vocabulary.FIM_PREFIX, vocabulary.FIM_SUFFIX, vocabulary.FIM_MIDDLE)
    }
    with_prefix = [mark[vocabulary.FIM_PREFIX], *prefix]
    with_suffix = [mark[vocabulary.FIM_SUFFIX], *suffix]
    parts = with_prefix + with_suffix if rng.random() < 0.6 else with_suffix + with_prefix
    return [*parts, mark[vocabulary.FIM_MIDDLE], *middle]


def middle_span(rng: random.Random, text: str) -> tuple[int, int]:
    """Where the middle lies: mostly one line's code or rest, else some lines or any span."""
    choice = rng.random()
    at = rng.randrange(len(text))
    line_end = text.find("\n", at)
    line_end = len(text) if line_end < 0 else line_end
    line_start = text.rfind("\n", 0, at) + 1
    if choice < 0.4:
        line = text[line_start:line_end]
        return line_start + len(line) - len(line.lstrip()), line_end
    if choice < 0.65:
        return at, line_end
    if choice < 0.85:
        for _ in range(rng.randrange(1, 4)):
            following = text.find("\n", line_end + 1)
            line_end = line_end if following < 0 else following
        return line_start, line_end
    return at, min(len(text), at + rng.randrange(1, 120))


def encode_conversation(tokenizer: Tokenizer, conversation: Conversation) -> list[int]:
    """ChatML tokens, encoded turn by turn as they arrive.

    The questions are learnt too: in a model this small their words are known from nowhere else.
    """
    ids: list[int] = []
    for turn in conversation:
        ids += vocabulary.encode(tokenizer, f"{vocabulary.IM_START}{turn.role}\n")
        ids += vocabulary.encode(tokenizer, f"{turn.content}{vocabulary.IM_END}\n")
    return ids


def encode_opening(tokenizer: Tokenizer, conversation: Conversation) -> list[int]:
    """A conversation up to the end of the last answer's first line of code, if it has code.

    Which function is asked for is decided by then; the rest is recall, which taught code trains
    alone. Stopping there shows twice as many questions in the same number of tokens.
    """
    *before, answer = conversation
    opening, marker, _ = answer.content.partition(":\n    ")
    if not marker:
        return encode_conversation(tokenizer, conversation)
    shown = Turn(answer.role, f"{opening}:\n")
    return encode_conversation(tokenizer, (*before, shown))[:-2]
