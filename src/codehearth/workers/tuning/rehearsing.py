"""The base's own answers, to be rehearsed among what is new: so it forgets less of what it knew.

They are made once and kept: a training that goes on sees the same rows.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .answering import answers
from .rows import rendered


def rehearsed(
    job: dict[str, Any], model: Any, tokenizer: Any, ends: list[int]
) -> list[dict[str, Any]]:
    """A row for each question of `job["rehearsal"]` that the base answers with something."""
    kept = Path(job["folder"]) / "rehearsal.json"
    try:
        found: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        found = _made(job, model, tokenizer, ends)
    if int(os.environ.get("RANK", "0")) == 0:
        unfinished = kept.with_name("rehearsal.json.unfinished")
        unfinished.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
        unfinished.replace(kept)
    return found


def _made(job: dict[str, Any], model: Any, tokenizer: Any, ends: list[int]) -> list[dict[str, Any]]:
    """An answer that was cut off is not learnt: it would teach to stop anywhere. A question that is
    rehearsed more than once is asked once."""
    num_new = job["hyperparameters"]["max_tokens"] // 2
    prompts = [rendered(one["bare"], tokenizer, asks=True) for one in job["rehearsal"]]
    different = list(dict.fromkeys(prompts))
    model.eval()
    told = dict(
        zip(different, answers(model, tokenizer, different, ends, num_new=num_new), strict=True)
    )
    model.train()
    rows = []
    for one, prompt in zip(job["rehearsal"], prompts, strict=True):
        answer = told[prompt]
        num_tokens = len(tokenizer(answer, add_special_tokens=False)["input_ids"])
        if answer.strip() and num_tokens < num_new - 1:
            rows.append({"messages": [*one["messages"], {"role": "assistant", "content": answer}]})
    return rows
