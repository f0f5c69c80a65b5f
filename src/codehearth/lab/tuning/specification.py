"""A job as the trainer reads it, and as people are shown it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codehearth.lab.tuning.preparing import Prepared
from codehearth.lab.tuning.probes import (
    NUM_ANSWER_TOKENS,
    NUM_PROBE_TOKENS,
    probes_of,
    questions_of,
    rehearsal_of,
)
from codehearth.lab.tuning.templates import with_default_system
from codehearth.models.facts import Weights
from codehearth.models.local_models import LocalModel, needs_code

_STORED = {"F32": "fp32", "F16": "fp16"}


def specification_of(
    prepared: Prepared, base: LocalModel, weights: Weights, folder: Path
) -> dict[str, Any]:
    """The trainer's document; `folder` is the job's. What the fields mean: `workers.tuning`."""
    asked, machine, template = prepared.asked, prepared.machine, weights.chat_template
    brings_system = bool(template and asked.system)
    return {
        "base": str(base.path.absolute()),
        "folder": str(folder / "training"),
        "training": str(folder / "training.jsonl"),
        "held_out": str(folder / "held_out.jsonl") if prepared.split.held_out else None,
        "hyperparameters": prepared.hyperparameters.as_document(),
        "seed": asked.seed,
        "device": machine.device,
        "dtype": prepared.dtype,
        "stored_dtype": _STORED.get(weights.precision, "bf16"),
        "quantise": asked.quantise,
        "threads": machine.num_threads,
        "long_rows": asked.long_rows,
        "num_parameters": weights.num_parameters,
        "allows_code": needs_code(base),
        "chat_template": with_default_system(template or "", asked.system or "")
        if brings_system
        else None,
        "probes": probes_of(prepared, has_template=bool(template)),
        "questions": questions_of(prepared),
        "rehearsal": rehearsal_of(prepared, has_template=bool(template)),
        "num_probe_tokens": NUM_PROBE_TOKENS,
        "num_answer_tokens": NUM_ANSWER_TOKENS,
    }


def asked_document(prepared: Prepared) -> dict[str, Any]:
    """What was asked, for whoever looks at the job."""
    asked, found = prepared.asked, prepared.split
    return {
        "name": asked.name,
        "base": asked.base,
        "data": asked.data_name,
        "data_sha256": prepared.data_sha256,
        "num_rows": len(found.training),
        "num_held_out": len(found.held_out),
        "system": asked.system,
        "seed": asked.seed,
        "hyperparameters": prepared.hyperparameters.as_document(),
        "identity": prepared.identity,
        "device": prepared.machine.device,
        "predicted_bytes": prepared.memory.total_bytes,
    }
