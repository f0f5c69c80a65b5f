"""Rows of tokens to train on, made on the fly from one seed a row: text in, arrays out.

A row is filled with whole documents, each its own segment that sees nothing of the others, so the
model learns what it meets when it is asked: a text that starts at its beginning.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate

from tokenizers import Tokenizer

from . import tokenizer as vocabulary
from .corpus import SourceFile
from .middles import VALUE_SHARE, Document, encode_infilling

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
    """Inputs, the tokens that follow them, segments, and what each of those tokens weighs in the
    loss; all of one length."""

    inputs: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)

    def room(self, length: int) -> int:
        return length - len(self.inputs)

    def add(self, document: Document, length: int) -> None:
        """Append one document as a new segment, cut at the row's end."""
        segment = self.segments[-1] + 1 if self.segments else 0
        num_pairs = min(len(document.ids) - 1, self.room(length))
        num_before = len(document.ids) - 1 - document.num_wanted
        weights = [1] * num_before + [document.weight] * document.num_wanted
        self.inputs += document.ids[:num_pairs]
        self.targets += document.ids[1 : num_pairs + 1]
        self.segments += [segment] * num_pairs
        self.weights += weights[:num_pairs]


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
    taught_value_share: float = VALUE_SHARE
    cut_share: float = 0.6
    opening_share: float = 0.8
    answer_weight: int = 1  # of a conversation's last answer, in the loss
    repository_share: float = 0.15
    slice_tokens: tuple[int, ...] = (192, 256, 384, 1024)
    fim_slice_tokens: tuple[int, ...] = (192, 256, 384, 512)

    def row(self, seed: str, length: int) -> Row:
        """The same seed gives the same row, on every machine and after every resume."""
        rng = random.Random(seed)
        row = Row()
        while row.room(length) > 0:
            kind = rng.choices(list(self.shares), list(self.shares.values()))[0]
            if kind == "chat":
                conversation = self._fitting_conversation(rng, row.room(length))
                if conversation:
                    row.add(conversation, length)
                    continue
                kind = "stdlib"
            row.add(self._code(rng, kind, row.room(length)), length)
        return row

    @cached_property
    def _lengths(self) -> dict[str, list[int]]:
        """Characters of a source's files, summed up: a long file is drawn more often."""
        return {
            source: list(accumulate(len(file.text) for file in files))
            for source, files in self.files.items()
        }

    def _fitting_conversation(self, rng: random.Random, room: int) -> Document | None:
        """A conversation that fits whole, or nothing after three tries."""
        for _ in range(3):
            conversation = self.conversation(rng)
            encode = encode_opening if rng.random() < self.opening_share else encode_conversation
            ids, num_wanted = encode(self.tokenizer, conversation)
            if len(ids) - 1 <= room:
                return Document(ids, num_wanted, self.answer_weight)
        return None

    def _code(self, rng: random.Random, kind: str, room: int) -> Document:
        is_taught = kind == "taught"
        fills = rng.random() < (self.taught_fim_share if is_taught else self.fim_share)
        value_share = (self.taught_value_share if is_taught else VALUE_SHARE) if fills else None
        room = min(room, rng.choice(self.fim_slice_tokens if fills else self.slice_tokens))
        if is_taught:
            text, is_whole = self.taught_code(rng), True
            place = rng.choice(TAUGHT_PLACES)
        else:
            file = rng.choices(self.files[kind], cum_weights=self._lengths[kind])[0]
            text, is_whole = file_slice(rng, file.text, int(room * CHARACTERS_A_TOKEN) + 40)
            place = (file.package, file.path)
        if rng.random() < self.repository_share:
            head = vocabulary.encode(self.tokenizer, repository_head(*place))
            document = self._document(rng, text, is_whole, value_share, max(room - len(head), 32))
            return replace(document, ids=head + document.ids)
        return self._document(rng, text, is_whole, value_share, room)

    def _document(
        self, rng: random.Random, text: str, is_whole: bool, value_share: float | None, room: int
    ) -> Document:
        """The tokens of one text, cut for infilling with so many values, or with None as it is."""
        if value_share is not None:
            # The middle comes last, so a text that does not fit would lose just that.
            text_to_fill = text[: int(room * 3.0)]
            while len(text_to_fill) > 40:
                document = encode_infilling(self.tokenizer, rng, text_to_fill, value_share)
                if len(document.ids) <= room + 1:
                    return document
                text_to_fill = text_to_fill[: len(text_to_fill) * 3 // 4]
        end = [vocabulary.token_id(self.tokenizer, vocabulary.END_OF_TEXT)] if is_whole else []
        return Document(encode_cut(self.tokenizer, rng, text, self.cut_share) + end)


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


def encode_conversation(tokenizer: Tokenizer, conversation: Conversation) -> tuple[list[int], int]:
    """ChatML tokens, encoded turn by turn as they arrive, and how many the last turn says.

    The questions are learnt too: in a model this small their words are known from nowhere else.
    """
    ids: list[int] = []
    wanted: list[int] = []
    for turn in conversation:
        ids += vocabulary.encode(tokenizer, f"{vocabulary.IM_START}{turn.role}\n")
        wanted = vocabulary.encode(tokenizer, f"{turn.content}{vocabulary.IM_END}\n")
        ids += wanted
    return ids, len(wanted)


def encode_opening(tokenizer: Tokenizer, conversation: Conversation) -> tuple[list[int], int]:
    """A conversation up to the end of the last answer's first line of code, if it has code.

    Which function is asked for is decided by then; the rest is recall, which taught code trains
    alone. Stopping there shows twice as many questions in the same number of tokens.
    """
    *before, answer = conversation
    opening, marker, _ = answer.content.partition(":\n    ")
    if not marker:
        return encode_conversation(tokenizer, conversation)
    shown = Turn(answer.role, f"{opening}:\n")
    ids, num_wanted = encode_conversation(tokenizer, (*before, shown))
    return ids[:-2], num_wanted - 2
