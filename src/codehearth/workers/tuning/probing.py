"""What forms of the model answer: written down token by token, to be compared with others.

Three forms are asked the same: the base, the base with its adapter, and the merged checkpoint read
anew from its files. The last is asked without a system prompt: its template must bring the one of
the training. Answers are greedy. Held-out questions are asked of the base and of the tuned
model, to see what the training changed; and how likely the held-out answers are to both, a row at
a time.
"""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from .answering import answers
from .loading import base_of, end_ids_of, exact_dtype, tokenizer_of
from .rows import read_rows, rendered

_MAX_ROWS = 200


def probe(job: dict[str, Any]) -> None:
    """Writes `probes.json`."""
    torch.set_num_threads(job["threads"])
    folder = Path(job["folder"])
    dtype = exact_dtype(job["num_parameters"], job)
    tokenizer = tokenizer_of(job)
    ends = sorted(end_ids_of(job, tokenizer))
    questions = [_prompt(one, tokenizer) for one in job["questions"]]
    adapted = PeftModel.from_pretrained(base_of(job, dtype=dtype), folder / "adapter").eval()
    found: dict[str, Any] = {"adapter": _asked(adapted, tokenizer, job, ends)}
    num_new = job["num_answer_tokens"]
    rows = _held_out(job, tokenizer)
    found["after"] = answers(adapted, tokenizer, questions, ends, num_new=num_new)
    found["losses_after"] = _losses(adapted, rows)
    with adapted.disable_adapter():
        found["before"] = answers(adapted, tokenizer, questions, ends, num_new=num_new)
        found["losses_before"] = _losses(adapted, rows)
    del adapted
    gc.collect()
    merged_job = {**job, "base": str(folder / "merged")}
    merged = base_of(merged_job, dtype=dtype).eval()
    bare = [{**one, "messages": one["bare"]} if "bare" in one else one for one in job["probes"]]
    found["merged"] = _asked(merged, tokenizer_of(merged_job), {**job, "probes": bare}, ends)
    unfinished = folder / "probes.json.unfinished"
    unfinished.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    unfinished.replace(folder / "probes.json")


def _held_out(job: dict[str, Any], tokenizer: Any) -> list[dict[str, list[int]]]:
    if not job["held_out"]:
        return []
    rows, _ = read_rows(
        job["held_out"],
        tokenizer,
        end_ids_of(job, tokenizer),
        max_tokens=job["hyperparameters"]["max_tokens"],
        long_rows=job["long_rows"],
    )
    return rows[:_MAX_ROWS]


def _losses(model: Any, rows: list[dict[str, list[int]]]) -> list[float]:
    """The mean loss (nats a token) of each row's answer."""
    found = []
    for row in rows:
        ids, labels = (torch.tensor([row[name]], device=model.device) for name in row)
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0, :-1].float()  # (row - 1, vocabulary)
        found.append(float(torch.nn.functional.cross_entropy(logits, labels[0, 1:])))
    return found


def _asked(
    model: Any, tokenizer: Any, job: dict[str, Any], ends: list[int]
) -> list[dict[str, Any]]:
    """For each probe: the prompt's tokens, the answer's, their log-probabilities and how far the
    second likeliest token was from each."""
    found = []
    for one in job["probes"]:
        ids = tokenizer(_prompt(one, tokenizer), add_special_tokens="prompt" in one)["input_ids"]
        given = torch.tensor([ids], device=model.device)
        with torch.inference_mode():
            made = model.generate(
                given,
                attention_mask=torch.ones_like(given),
                do_sample=False,
                max_new_tokens=job["num_probe_tokens"],
                eos_token_id=ends,
                pad_token_id=tokenizer.pad_token_id,
                return_dict_in_generate=True,
                output_logits=True,
            )
        answer = made.sequences[0, len(ids) :].tolist()
        logprobs = torch.stack(made.logits)[:, 0].float().log_softmax(-1)  # (answer, vocabulary)
        top = logprobs.topk(2).values
        found.append(
            {
                "prompt_ids": ids,
                "answer_ids": answer,
                "answer": tokenizer.decode(answer, skip_special_tokens=True),
                "logprobs": [float(logprobs[n, token]) for n, token in enumerate(answer)],
                "gaps": (top[:, 0] - top[:, 1]).tolist(),
            }
        )
    return found


def _prompt(one: dict[str, Any], tokenizer: Any) -> str:
    if "messages" in one:
        return rendered(one["messages"], tokenizer, asks=True)
    return str(one["prompt"])
