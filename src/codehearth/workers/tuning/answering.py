"""Greedy answers of a model to rendered prompts, several at a time."""

from __future__ import annotations

from typing import Any

import torch

_BATCH = 16


def answers(
    model: Any, tokenizer: Any, prompts: list[str], ends: list[int], *, num_new: int
) -> list[str]:
    """Greedy answers, several at a time."""
    tokenizer.padding_side = "left"
    found: list[str] = []
    for start in range(0, len(prompts), _BATCH):
        batch = tokenizer(
            prompts[start : start + _BATCH],
            add_special_tokens=False,
            padding=True,
            return_tensors="pt",
        ).to(model.device)
        with torch.inference_mode():
            made = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                do_sample=False,
                max_new_tokens=num_new,
                eos_token_id=ends,
                pad_token_id=tokenizer.pad_token_id,
            )
        new = made[:, batch["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(new, skip_special_tokens=True)
        found += [text.rstrip("\N{REPLACEMENT CHARACTER}") for text in texts]  # cut in a letter
    return found
