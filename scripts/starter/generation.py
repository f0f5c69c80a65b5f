"""Greedy text from the network, the way an engine asks for it: chat, completion, infilling."""

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer

from . import tokenizer as vocabulary
from .network import Cache, Network
from .windows import Conversation

STOP_TOKENS = (
    vocabulary.IM_END,
    vocabulary.END_OF_TEXT,
    vocabulary.FIM_PAD,
    vocabulary.REPO_NAME,
    vocabulary.FILE_SEPARATOR,
)


@torch.inference_mode()
def generate(
    network: Network,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    *,
    max_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> tuple[list[int], bool]:
    """New token ids, and whether the model stopped by itself; greedy at temperature 0."""
    stops = {vocabulary.token_id(tokenizer, token) for token in STOP_TOKENS}
    random = torch.Generator().manual_seed(seed)
    cache = Cache([])
    produced: list[int] = []
    ids = list(prompt)
    for _ in range(max_tokens):
        logits = network.continue_from(torch.tensor(ids), cache)[-1]
        if temperature > 0:
            weights = torch.softmax(logits / temperature, dim=-1)
            chosen = int(torch.multinomial(weights, 1, generator=random))
        else:
            chosen = int(logits.argmax())
        if chosen in stops:
            return produced, True
        produced.append(chosen)
        ids = [chosen]
    return produced, False


def chat_prompt(conversation: Conversation) -> str:
    """What the chat template makes of a conversation, ready for the answer."""
    turns = "".join(
        f"{vocabulary.IM_START}{turn.role}\n{turn.content}{vocabulary.IM_END}\n"
        for turn in conversation
    )
    return f"{turns}{vocabulary.IM_START}assistant\n"


def infill_prompt(prefix: str, suffix: str, *, suffix_first: bool = False) -> str:
    """Prefix, suffix, middle: the order llama.cpp's `/infill` sends, or suffix, prefix, middle."""
    before = f"{vocabulary.FIM_PREFIX}{prefix}"
    after = f"{vocabulary.FIM_SUFFIX}{suffix}"
    parts = after + before if suffix_first else before + after
    return f"{parts}{vocabulary.FIM_MIDDLE}"


def complete(
    network: Network,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> tuple[str, bool]:
    """Text after a prompt that may hold special tokens, and whether it stopped by itself."""
    ids, has_stopped = generate(
        network,
        tokenizer,
        vocabulary.encode(tokenizer, prompt),
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    return vocabulary.decode(tokenizer, ids), has_stopped
