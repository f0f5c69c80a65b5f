"""From what was asked to a job that can be started: everything decided, nothing loaded; pure.

What can go wrong before minutes are spent goes wrong here: the data, the numbers, the memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from codehearth.errors import DoesNotFit, InvalidRequest, Unsupported
from codehearth.lab.low_bits import needs_importance
from codehearth.lab.mixture import recipe_of
from codehearth.lab.tuning import memory
from codehearth.lab.tuning.examples import Chat, Example, Lesson, digest, with_system
from codehearth.lab.tuning.infilling import lessons as lessons_of
from codehearth.lab.tuning.recipe import SMALL_PARAMETERS, Hyperparameters, choose
from codehearth.lab.tuning.splitting import Split, split
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.words import in_bytes
from codehearth.text.fim import fim_format_of


@dataclass(frozen=True)
class Asked:
    """What the user wants. `numbers` are hyperparameters by name, those that were given.

    `held_share` of the different questions is held out. `expect` is what answers to held-out
    questions shall hold.
    """

    name: str
    base: str
    data_name: str
    examples: tuple[Example, ...]
    held_out: tuple[Example, ...] | None = None
    system: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    held_share: float = 0.1
    seed: int = 0
    quantise: str | None = None
    long_rows: Literal["drop", "cut"] = "drop"
    expect: str | None = None
    precision: str = "f16"


@dataclass(frozen=True)
class Machine:
    """Where it is trained; `free_bytes` of the device that computes."""

    device: memory.Device
    num_gpus: int
    num_threads: int
    free_bytes: int


@dataclass(frozen=True)
class Prepared:
    """A job. `identity` is the same for the same model, data, numbers and seed."""

    asked: Asked
    machine: Machine
    split: Split
    hyperparameters: Hyperparameters
    dtype: str
    memory: memory.TrainingMemory
    identity: str
    data_sha256: str
    why: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.asked.name}-{self.identity[:10]}"

    def as_document(self) -> dict[str, Any]:
        """The plan, as `--dry-run --json` and the page show it."""
        return {
            "job": self.id,
            "identity": self.identity,
            "name": self.asked.name,
            "base": self.asked.base,
            "data": self.asked.data_name,
            "data_sha256": self.data_sha256,
            "num_training": len(self.split.training),
            "num_held_out": len(self.split.held_out),
            "num_different": self.split.num_groups,
            "num_repeated": self.split.num_repeated,
            "hyperparameters": self.hyperparameters.as_document(),
            "device": self.machine.device,
            "dtype": self.dtype,
            "memory": {**dict(self.memory.parts), "total": self.memory.total_bytes},
            "free_bytes": self.machine.free_bytes,
            "why": list(self.why),
        }


def prepare(asked: Asked, weights: Weights, machine: Machine, *, fim: str | None) -> Prepared:
    """Everything decided. `fim` is the format that the catalogue names for the model.

    Raises InvalidRequest for data or numbers that make no sense, Unsupported for what this machine
    cannot do, DoesNotFit with what would fit.
    """
    if asked.quantise and machine.device == "mps":
        raise Unsupported(
            f"Training on a base in {asked.quantise} is not possible on Apple's GPUs.",
            hint="leave out --quantize; --checkpointing and --batch 1 save memory too",
            param="quantise",
        )
    asked = replace(asked, precision=_gguf_precision(asked.precision))
    chosen = choose(
        weights.num_parameters, weights.context_tokens, len(asked.examples), **asked.numbers
    )
    numbers = chosen.hyperparameters
    format_name = fim_format_of(weights.fim_marks, preferred=fim)
    found = _split(asked, weights, format_name, numbers.max_tokens)
    dtype = dtype_for(weights, machine.device)
    predicted = memory.predict(
        weights, numbers, precision=asked.quantise or dtype, device=machine.device
    )
    require_room(asked, weights, numbers, machine, predicted, dtype)
    data_sha256 = digest((*found.training, *found.held_out))
    identity = _identity(asked, numbers, data_sha256, weights)
    return Prepared(
        asked=asked,
        machine=machine,
        split=found,
        hyperparameters=numbers,
        dtype=dtype,
        memory=predicted,
        identity=identity,
        data_sha256=data_sha256,
        why=(chosen.why, _held(found)),
    )


def _held(found: Split) -> str:
    if not found.held_out:
        return f"no rows are held out: {found.why}"
    count = len(found.held_out)
    return "1 row is held out" if count == 1 else f"{count} rows are held out"


def _gguf_precision(text: str) -> str:
    """In the one spelling; raises InvalidRequest for what cannot be made of a tuned model."""
    recipe = recipe_of(text)
    if needs_importance("blk.0.attn_q.weight", recipe.tensor_type, recipe.precision):
        raise InvalidRequest(
            f"'{recipe.precision}' needs an importance matrix, which a training does not make.",
            hint="leave out --to, then `hearth quantize NAME:checkpoint --imatrix FILE`",
            param="precision",
        )
    return recipe.precision


def _split(asked: Asked, weights: Weights, format_name: str | None, max_tokens: int) -> Split:
    can_chat = bool(weights.chat_template)

    def learnt(examples: Sequence[Example]) -> tuple[Lesson, ...]:
        kept = [one for one in examples if can_chat or not isinstance(one, Chat)]
        return lessons_of(
            with_system(kept, asked.system),
            format_name=format_name,
            marks=weights.fim_marks,
            seed=asked.seed,
            max_tokens=max_tokens,
        )

    if (
        asked.held_out is None
        and any(isinstance(one, Chat) for one in asked.examples)
        and not can_chat
    ):
        raise InvalidRequest(
            f"'{asked.base}' has no chat template, so it cannot learn conversations.",
            hint="take its instruct version, or data with prompt and completion",
            param="data",
        )
    if asked.held_out is None:
        return split(learnt(asked.examples), asked.held_share, seed=asked.seed)
    training, held = learnt(asked.examples), learnt(asked.held_out)
    count = len(training) + len(held)
    return Split(training, held, count, count, 0)


def dtype_for(weights: Weights, device: memory.Device) -> str:
    """What is computed in: half as many bytes on a GPU, what is exact and fast on a CPU."""
    if device == "cpu":
        is_small = weights.num_parameters < SMALL_PARAMETERS
        return "fp32" if is_small or weights.precision == "F32" else "bf16"
    return "fp16" if weights.precision == "F16" else "bf16"


def require_room(
    asked: Asked,
    weights: Weights,
    numbers: Hyperparameters,
    machine: Machine,
    predicted: memory.TrainingMemory,
    dtype: str,
) -> None:
    """Raises DoesNotFit, with the flags that would make it fit."""
    if predicted.total_bytes <= machine.free_bytes:
        return
    alternative = memory.what_would_fit(
        weights,
        numbers,
        machine.free_bytes,
        precision=asked.quantise or dtype,
        device=machine.device,
    )
    hint = "a smaller model would fit"
    if alternative is not None:
        hint = f"`{alternative.flags}` would fit: about {in_bytes(alternative.total_bytes)}"
    parts = ", ".join(f"{name} {in_bytes(size)}" for name, size in predicted.parts)
    raise DoesNotFit(
        f"This training needs about {in_bytes(predicted.total_bytes)} ({parts}); "
        f"{in_bytes(machine.free_bytes)} are free.",
        needed_bytes=predicted.total_bytes,
        free_bytes=machine.free_bytes,
        hint=hint,
    )


def machine_of(
    hardware: Hardware, devices: Sequence[str], *, num_threads: int, num_gpus: int | None
) -> Machine:
    """Where the trainer of these devices computes; raises InvalidRequest for GPUs it lacks."""
    num_cuda = sum(device.startswith("cuda") for device in devices)
    wanted = num_cuda if num_gpus is None else num_gpus
    if wanted > num_cuda:
        raise InvalidRequest(
            f"{wanted} GPUs are asked for, the trainer sees {num_cuda}.",
            hint="`hearth engines install tuning --cuda` makes the environment for NVIDIA's",
        )
    if wanted:
        free = min(gpu.free_bytes for gpu in hardware.gpus) if hardware.gpus else 0
        return Machine("cuda", wanted, num_threads, free)
    if "mps" in devices and num_gpus is None:
        return Machine("mps", 1, num_threads, hardware.free_bytes)
    return Machine("cpu", 0, num_threads, hardware.free_bytes)


def _identity(asked: Asked, numbers: Hyperparameters, data_sha256: str, weights: Weights) -> str:
    facts = {
        "base": asked.base,
        "base_bytes": [weights.num_parameters, weights.num_bytes],
        "data": data_sha256,
        "numbers": numbers.as_document(),
        "seed": asked.seed,
        "quantise": asked.quantise,
        "system": asked.system,
        "long_rows": asked.long_rows,
        "precision": asked.precision,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
