"""What an engine is: pure answers about one program that serves a model over OpenAI's wire.

An engine file says whether it can run here, whether it can load these weights, and what its
command line is. Nothing here starts anything: `process.py` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from codehearth.engines.endpoint import Endpoint


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter that is loaded beside the weights: a request asks for it by its place.

    `path` is what the engine reads: a GGUF file for llama.cpp, PEFT's folder for the others.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class Parallel:
    """How one model is shared among GPUs: each layer cut in `tensor` parts, the layers dealt out
    to `pipeline` stages. `over_ray`: the GPUs are those of the Ray cluster that this machine is in.
    """

    tensor: int = 1
    pipeline: int = 1
    over_ray: bool = False


@dataclass(frozen=True)
class Launch:
    """What one child shall load, as plain values.

    `context_tokens` holds for each slot; `num_slots` requests decode at the same time.
    `gpu_layers` counts from the end as llama.cpp does, 0 is none, a number above the model's
    layers is all. `batch_tokens` of a prompt are computed at once; embedding models take a whole
    input at once instead. `prompt_cache_bytes` may be used for prompts that left their slot.
    `mapped`: the weights are mapped from the file, else read into memory (see `models.memory`).
    `precision` is the user's word (bf16, fp16, fp32, int8, int4), or auto: as the weights are
    stored, which is `stored_precision`. `allows_code`: the checkpoint may run code of its own.
    llama.cpp's weights are what they are; these three mean nothing to it.
    `chat_template` is a file whose template takes the place of the weights' own, which is
    `own_template`: other servers are told by it how the model writes calls of tools.
    `adapters` are loaded with the model and share it. Of several a request asks for one as
    llama.cpp's server is asked (`lora`), by its place among them; one alone answers every request.
    `kv_bytes` of memory are planned for keys and values, and `gpu_share` of all GPUs' memory for
    the whole (0 to 1): for engines that take their memory at once. `kv_precision` (int8, int4) is
    what keys and values are kept in; `speculates`: tokens are guessed from what was written before.
    """

    path: Path
    alias: str
    context_tokens: int
    num_slots: int
    num_threads: int
    gpu_layers: int = 0
    batch_tokens: int = 512
    prompt_cache_bytes: int = 0
    is_embedding: bool = False
    mapped: bool = True
    precision: str = "auto"
    stored_precision: str = ""
    allows_code: bool = False
    adapters: tuple[Adapter, ...] = ()
    chat_template: Path | None = None
    own_template: str = ""
    parallel: Parallel = Parallel()
    kv_bytes: int = 0
    gpu_share: float = 0.0
    kv_precision: str = "auto"
    speculates: bool = False

    @property
    def chooses_adapters(self) -> bool:
        """Whether a request has to say which adapter answers it."""
        return len(self.adapters) > 1


@dataclass(frozen=True)
class Command:
    """How to start a child: its argv and its *whole* environment (ours is not inherited).

    `why` holds the automatic choices with their reasons, for the log and `hearth ps`.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Available:
    """The engine can run here; `detail` names the program and its version."""

    detail: str


@dataclass(frozen=True)
class Unavailable:
    """The engine cannot run here: why, and what would change that."""

    reason: str
    hint: str


class LoadableWeights(Protocol):
    """The facts about weights that an engine asks for; `models.weights.Weights` has them."""

    @property
    def kind(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def is_embedding_model(self) -> bool: ...
    @property
    def key_size(self) -> int: ...
    @property
    def output_bytes(self) -> int: ...


def not_generating(engine: str, weights: LoadableWeights) -> str | None:
    """Why an engine that only generates refuses weights; None where it does not."""
    if weights.is_embedding_model:
        return f"{engine} is started here for models that generate, and this one makes embeddings"
    return None


def no_checkpoint(engine: str, weights: LoadableWeights) -> str | None:
    """Why an engine for checkpoints that generate refuses weights; None where it does not."""
    if weights.kind != "safetensors":
        return f"{engine} is started here for checkpoints of safetensors"
    if "(BITSANDBYTES)" in weights.precision:
        return f"{engine} does not read what bitsandbytes has packed; transformers does"
    return not_generating(engine, weights)


class Engine(Protocol):
    """One program that can serve models. All answers are pure or cheap."""

    @property
    def name(self) -> str: ...
    @property
    def sees_gpus(self) -> bool:
        """Whether it would use this machine's GPUs, where there are some."""
        ...

    @property
    def scores_prompts(self) -> bool:
        """Whether it gives the log-probabilities of a prompt's own tokens (`echo`)."""
        ...

    def availability(self) -> Available | Unavailable:
        """Whether the engine can run on this machine as it is installed now."""
        ...

    def can_load(self, weights: LoadableWeights) -> str | None:
        """None where it can, else the reason why not, as the end of a sentence."""
        ...

    def command(self, launch: Launch, endpoint: Endpoint) -> Command:
        """The child that loads `launch` and listens at `endpoint` with its key."""
        ...
