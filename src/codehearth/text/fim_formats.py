"""The families' infilling formats: a table with the source of each row.

"Prefix first" (PSM) is used where a family knows both orders: while the user types, the prompt
then keeps its beginning, and the suffix after it is short. Each row's source is named; where
several agree, the family's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# How a family writes other files around the one with the cursor; see `fim`.
Context = Literal["comments", "paths", "file marks", "path in prefix", "headings", "references"]


@dataclass(frozen=True)
class FimFormat:
    """One family's marks.

    `tokens` are the texts that must be single tokens of a vocabulary. `ends` are texts with which
    the family's models end a middle, or begin what is no middle any more: an engine stops at
    those that are its vocabulary's end of text by itself, and the others are stop texts.
    """

    prefix_mark: str
    suffix_mark: str
    middle_mark: str
    tokens: tuple[str, ...]
    ends: tuple[str, ...]
    is_suffix_first: bool = False
    context: Context = "comments"
    repository_mark: str = ""
    file_mark: str = ""

    @property
    def marks(self) -> tuple[str, str, str]:
        return self.prefix_mark, self.suffix_mark, self.middle_mark


def _format(
    prefix_mark: str,
    suffix_mark: str,
    middle_mark: str,
    *,
    ends: tuple[str, ...],
    is_suffix_first: bool = False,
    context: Context = "comments",
    repository_mark: str = "",
    file_mark: str = "",
) -> FimFormat:
    """A row whose three marks are tokens; a model that repeats one of them is at its end, too."""
    tokens = tuple(mark.strip() for mark in (prefix_mark, suffix_mark, middle_mark) if mark)
    return FimFormat(
        prefix_mark,
        suffix_mark,
        middle_mark,
        tokens=tokens,
        ends=(*ends, *tokens),
        is_suffix_first=is_suffix_first,
        context=context,
        repository_mark=repository_mark,
        file_mark=file_mark,
    )


FIM_FORMATS: Mapping[str, FimFormat] = {
    # Qwen2.5-Coder's README (file-level and repository-level infilling) and technical report,
    # section 3.2; Qwen3-Coder's README says the same.
    "qwen": _format(
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        ends=("<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|im_end|>"),
        context="file marks",
        repository_mark="<|repo_name|>",
        file_mark="<|file_sep|>",
    ),
    # CodeGemma's model card and Google's "CodeGemma formatting" page: no blanks around the marks,
    # <|file_separator|> ends a file. How paths are written with it is not told, so they are
    # comments here.
    "codegemma": _format(
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        ends=("<|file_separator|>", "<eos>", "<end_of_turn>"),
        file_mark="<|file_separator|>",
    ),
    # StarCoder2's paper, section 5.1 (repository context, path inside the prefix).
    "starcoder2": _format(
        "<fim_prefix>",
        "<fim_suffix>",
        "<fim_middle>",
        ends=("<|endoftext|>", "<file_sep>", "<fim_pad>", "<repo_name>"),
        context="path in prefix",
        repository_mark="<repo_name>",
        file_mark="<file_sep>",
    ),
    # StarCoder's model card; StableCode's, Refact's and CodeQwen1.5's are the same.
    "starcoder": _format(
        "<fim_prefix>",
        "<fim_suffix>",
        "<fim_middle>",
        ends=("<|endoftext|>", "<fim_pad>", "<filename>", "<reponame>"),
    ),
    # Granite Code's model cards and paper (arXiv 2405.04324): StarCoder's marks.
    "granite": _format(
        "<fim_prefix>",
        "<fim_suffix>",
        "<fim_middle>",
        ends=("<|endoftext|>", "<fim_pad>", "<filename>", "<reponame>"),
    ),
    # SantaCoder's model card: hyphens.
    "santacoder": _format(
        "<fim-prefix>",
        "<fim-suffix>",
        "<fim-middle>",
        ends=("<|endoftext|>", "<fim-pad>"),
    ),
    # DeepSeek-Coder's README: "Code Insertion" and, for files after `#path` lines, "Repository
    # Level Code Completion".
    "deepseek": _format(
        "<｜fim▁begin｜>",
        "<｜fim▁hole｜>",
        "<｜fim▁end｜>",
        ends=("<｜end▁of▁sentence｜>", "<|EOT|>", "<|endoftext|>"),
        context="paths",
    ),
    # CodeLlama's `generation.py` (infilling prompt) and model cards; <EOT> ends the middle.
    "codellama": _format("<PRE> ", " <SUF>", " <MID>", ends=("<EOT>", "</s>", "▁<EOT>")),
    # mistral-common's FIM encoding: suffix, then prefix, no mark for the middle; the headings are
    # Continue's, with which its makers serve Codestral.
    "codestral": _format(
        "[PREFIX]",
        "[SUFFIX]",
        "",
        ends=("</s>", "[MIDDLE]", "\n+++++ "),
        is_suffix_first=True,
        context="headings",
    ),
    # Seed-Coder's technical report and model card: suffix first.
    "seed": _format(
        "<[fim-prefix]>",
        "<[fim-suffix]>",
        "<[fim-middle]>",
        ends=("<[end▁of▁sentence]>", "<[PAD▁TOKEN]>", "<[SEP▁TOKEN]>"),
        is_suffix_first=True,
    ),
    # InCoder's `example_usage.py`: the text is cut at mask 0, mask 1 stands at its end, and mask 0
    # once more asks for what was cut out. <|endoftext|> begins a document there.
    "incoder": FimFormat(
        "",
        "<|mask:0|>",
        "<|mask:1|><|mask:0|>",
        tokens=("<|mask:0|>", "<|mask:1|>"),
        ends=("<|endofmask|>", "<|/ file |>", "<|endoftext|>", "<|mask:1|>", "<|mask:0|>"),
    ),
    # llama.cpp's vocabulary (GLM-4.5) and Zed's formats: the plain order.
    "glm": _format(
        "<|code_prefix|>",
        "<|code_suffix|>",
        "<|code_middle|>",
        ends=("<|endoftext|>", "<|user|>", "<|assistant|>", "<|observation|>"),
    ),
    # CodeGeeX4's guide on infilling: a turn of the user, suffix first.
    "codegeex": FimFormat(
        "<|code_prefix|>",
        "<|code_suffix|>",
        "<|code_middle|><|assistant|>\n",
        tokens=("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
        ends=("<|endoftext|>", "<|user|>", "<|observation|>", "###REFERENCE:", "<|code_suffix|>"),
        is_suffix_first=True,
        context="references",
    ),
}
"""In the order in which they are tried on a vocabulary that nobody said the family of.

CodeGeeX2 has no row: its model card knows completion under a language's tag line only.
"""

# The marks that llama.cpp's vocabulary takes for control tokens by their text (`llama-vocab.cpp`).
KNOWN_TO_LLAMA_CPP = frozenset(
    {
        *("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>"),
        *("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<repo_name>", "<file_sep>"),
        *("<fim-prefix>", "<fim-suffix>", "<fim-middle>", "<reponame>"),
        *("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
        *("<PRE>", "<SUF>", "<MID>", "▁<PRE>", "▁<SUF>", "▁<MID>"),
        *("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
    }
)


def all_marks() -> tuple[str, ...]:
    """Every mark of every family, in every spelling that vocabularies have."""
    marks: dict[str, None] = {}
    for layout in FIM_FORMATS.values():
        file_marks = (layout.repository_mark, layout.file_mark)
        marks |= dict.fromkeys((*layout.tokens, *(mark for mark in file_marks if mark)))
    marks |= dict.fromkeys(f"▁{mark}" for mark in ("<PRE>", "<SUF>", "<MID>"))
    return tuple(marks)
