"""The vocabulary: byte-level BPE with exactly Qwen2's split pattern and special tokens.

The pattern must not change: llama.cpp names it `qwen2` and splits by its own copy of it.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

# https://huggingface.co/Qwen/Qwen2-0.5B/blob/main/tokenizer.json, `pre_tokenizer`
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

END_OF_TEXT = "<|endoftext|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
FIM_PREFIX = "<|fim_prefix|>"
FIM_MIDDLE = "<|fim_middle|>"
FIM_SUFFIX = "<|fim_suffix|>"
FIM_PAD = "<|fim_pad|>"
REPO_NAME = "<|repo_name|>"
FILE_SEPARATOR = "<|file_sep|>"
SPECIAL_TOKENS = (
    END_OF_TEXT,
    IM_START,
    IM_END,
    FIM_PREFIX,
    FIM_MIDDLE,
    FIM_SUFFIX,
    FIM_PAD,
    REPO_NAME,
    FILE_SEPARATOR,
)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int) -> Tokenizer:
    """A tokenizer whose last ids are the special tokens, as in Qwen's own."""
    tokenizer = _bare(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        special_tokens=[],
    )
    tokenizer.train_from_iterator(texts, trainer)
    _add_special_tokens(tokenizer)
    return tokenizer


def tokenizer_from_pieces(tokens: list[str], merges: list[str]) -> Tokenizer:
    """The tokenizer that a GGUF file describes by its token and merge lists."""
    vocabulary = {t: i for i, t in enumerate(tokens) if t not in SPECIAL_TOKENS}
    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    tokenizer = _bare(models.BPE(vocab=vocabulary, merges=pairs))
    _add_special_tokens(tokenizer)
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(path))


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of a text; special tokens written in it are recognised."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def token_id(tokenizer: Tokenizer, token: str) -> int:
    found: int | None = tokenizer.token_to_id(token)
    assert found is not None, token
    return found


def decode(tokenizer: Tokenizer, ids: list[int]) -> str:
    """Text of the ids, special tokens left out."""
    text: str = tokenizer.decode(ids, skip_special_tokens=True)
    return text


def _bare(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _add_special_tokens(tokenizer: Tokenizer) -> None:
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
