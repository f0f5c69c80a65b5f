"""Fill-in-the-middle formats: how each family of models wants prefix and suffix laid out.

A format is the order of three marks around the two texts. "Prefix first" (PSM) is the layout all
of these families were trained with; where a family also knows "suffix first", prefix first is
used, since its rendering keeps the cache's beginning while the user types.

Sources: the model cards and tokenizer files of each family (Qwen2.5-Coder, CodeLlama,
DeepSeek-Coder, StarCoder, CodeGemma, Codestral, Granite, Seed-Coder).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from codehearth.errors import InvalidRequest, Unsupported


@dataclass(frozen=True)
class FimFormat:
    """The marks of one family; `is_suffix_first` swaps the order of the two texts.

    `end_mark` ends the middle, where the model's own end token does not. `tokens` are the marks as
    they stand in the vocabulary, where one of the three is made of several.
    """

    prefix_mark: str
    suffix_mark: str
    middle_mark: str
    is_suffix_first: bool = False
    end_mark: str | None = None
    tokens: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        return self.tokens or (self.prefix_mark, self.suffix_mark, self.middle_mark)


FIM_FORMATS: Mapping[str, FimFormat] = {
    "qwen": FimFormat("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    "codegemma": FimFormat("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    "starcoder": FimFormat("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    "granite": FimFormat("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    "deepseek": FimFormat("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    "codellama": FimFormat("<PRE> ", " <SUF>", " <MID>"),
    "codestral": FimFormat("[PREFIX]", "[SUFFIX]", "", is_suffix_first=True),
    # The end names the place of the middle again (arXiv:2204.05999). Its tokenizer sets the mark of
    # a document's start by itself.
    "incoder": FimFormat(
        "",
        "<|mask:0|>",
        "<|mask:1|><|mask:0|>",
        end_mark="<|endofmask|>",
        tokens=("<|mask:0|>", "<|mask:1|>", "<|endofmask|>"),
    ),
    "seed": FimFormat("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>", is_suffix_first=True),
}


def render_fim(format_name: str | None, *, prefix: str, suffix: str) -> str:
    """The prompt that asks for what stands between `prefix` and `suffix`.

    Raises Unsupported where the model has no format, and InvalidRequest where a text holds one of
    the format's own marks: it would end the prefix early and answer another question.
    """
    if format_name is None or format_name not in FIM_FORMATS:
        raise Unsupported(
            "This model cannot fill in the middle: it was not trained with a suffix.",
            param="suffix",
            hint="leave out 'suffix', or use a model whose `hearth show` says it can infill",
        )
    layout = FIM_FORMATS[format_name]
    for name, text in (("prompt", prefix), ("suffix", suffix)):
        if any(mark.strip() and mark.strip() in text for mark in layout.marks):
            raise InvalidRequest(
                f"'{name}' holds a mark of the model's own infilling format.", param=name
            )
    before = layout.prefix_mark + prefix
    after = layout.suffix_mark + suffix
    parts = (after, before) if layout.is_suffix_first else (before, after)
    return "".join(parts) + layout.middle_mark


def fim_end_mark(format_name: str | None) -> str | None:
    """What ends the middle in this format, beside the model's own end tokens."""
    layout = FIM_FORMATS.get(format_name or "")
    return layout.end_mark if layout else None


def fim_format_of(marks: Collection[str], *, preferred: str | None) -> str | None:
    """The format whose marks a vocabulary holds, `preferred` first; None where it holds none.

    `marks` are the infilling marks found in the model's vocabulary.
    """
    names = [preferred] if preferred else list(FIM_FORMATS)
    for name in names:
        layout = FIM_FORMATS.get(name or "")
        if layout and all(_is_known(mark, marks) for mark in layout.marks if mark):
            return name
    return None


def _is_known(mark: str, marks: Collection[str]) -> bool:
    """SentencePiece writes the blank of CodeLlama's marks as `▁`."""
    return mark in marks or any(mark.strip() == known.strip("▁ ") for known in marks)


def language_prompt(tag_line: str, prompt: str) -> str:
    """A prompt under its language's tag line, as CodeGeeX2 was trained: `# language: Python`."""
    return f"{tag_line}\n{prompt}" if tag_line else prompt
