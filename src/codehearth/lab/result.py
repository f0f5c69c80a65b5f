"""A measurement as data: what `hearth measure` writes and others read. `docs/lab.md` explains it.

Times are seconds, sizes bytes, speeds tokens per second; None is what could not be measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codehearth.errors import InvalidRequest, NotFound

SCHEMA = 1
_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Sample:
    """Repeated timings of one thing."""

    median: float
    min: float
    max: float
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Estimate:
    value: float
    standard_error: float


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Divergence:
    """KL(reference || this precision) over the tokens of the text, in nats."""

    mean: Interval
    p99: Interval
    max: float


@dataclass(frozen=True)
class Greedy:
    """Completions without chance, against the reference's: which share is the same to the end, and
    how many tokens are the same until the first that differs."""

    num_prompts: int
    num_new_tokens: int
    agreement: Interval
    same_tokens: float


@dataclass(frozen=True)
class Loss:
    perplexity: Estimate
    log_ratio: Estimate | None = None
    kl: Divergence | None = None
    top_1_agreement: Interval | None = None
    top_5_agreement: Interval | None = None
    greedy: Greedy | None = None


@dataclass(frozen=True)
class Streams:
    """Speeds of all requests together, `num_streams` of them at a time."""

    num_streams: int
    prefill_tokens_per_s: Sample
    decode_tokens_per_s: Sample


@dataclass(frozen=True)
class Memory:
    """Of the host, and of GPUs that have memory of their own: None where none was used, or where
    the driver does not tell."""

    peak_bytes: int
    predicted_bytes: int
    gpu_peak_bytes: int | None = None
    gpu_predicted_bytes: int | None = None

    @property
    def on_gpu(self) -> tuple[int, int] | None:
        """Measured and predicted, where both are known."""
        if self.gpu_peak_bytes is None or self.gpu_predicted_bytes is None:
            return None
        return self.gpu_peak_bytes, self.gpu_predicted_bytes

    @property
    def is_on_gpu(self) -> bool:
        """Whether a GPU computed."""
        return bool(self.gpu_predicted_bytes)


@dataclass(frozen=True)
class File:
    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Precision:
    """`engine` is the one that it was timed in, "" in older results; `calibrated_on` is the text
    that it was made with, where there was one."""

    precision: str
    is_reference: bool
    file: File
    bits_per_weight: float
    load_s: Sample
    ttft_s: Sample
    streams: tuple[Streams, ...]
    memory: Memory
    loss: Loss
    kl_quantiles: tuple[tuple[float, float], ...] = ()
    pass_at_1: Interval | None = None
    engine: str = ""
    calibrated_on: str = ""

    def at(self, num_streams: int) -> Streams | None:
        return next((one for one in self.streams if one.num_streams == num_streams), None)


@dataclass(frozen=True)
class Noise:
    load_average: float
    other_cores: float
    is_noisy: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelFacts:
    name: str
    source: str
    architecture: str
    num_parameters: int
    vocabulary_size: int
    context_tokens: int
    licence: str | None = None


@dataclass(frozen=True)
class TextFacts:
    title: str
    sha256: str
    num_bytes: int
    num_tokens: int
    num_windows: int
    context_tokens: int
    num_scored_tokens: int


@dataclass(frozen=True)
class ScoringFacts:
    """The library whose logits the loss was taken from: `xllamacpp`, the wheel's, or
    `llamacpp-native`, the one that was built on this machine and serves on it."""

    library: str
    version: str


@dataclass(frozen=True)
class TimingFacts:
    engine: str
    num_threads: int
    num_rounds: int
    prompt_tokens: int
    new_tokens: int
    context_tokens: int
    num_slots: int


@dataclass(frozen=True)
class TaskFacts:
    """What pass@1 was taken on: one answer without chance to each task."""

    title: str
    sha256: str
    num_tasks: int
    protection: str


@dataclass(frozen=True)
class NotMeasured:
    precision: str
    reason: str
    hint: str


@dataclass(frozen=True)
class Published:
    """A figure of the model's makers, at the precision they used: not measured here."""

    benchmark: str
    metric: str
    value: float
    precision: str
    source: str


@dataclass(frozen=True)
class Plot:
    name: str
    title: str
    svg: str
    png: str | None = None


@dataclass(frozen=True)
class Files:
    report: str
    plots: tuple[Plot, ...] = ()


@dataclass(frozen=True)
class Result:
    id: str
    created_at: str
    command: tuple[str, ...]
    seed: int
    duration_s: float
    versions: dict[str, str]
    machine: dict[str, Any]
    noise: Noise
    model: ModelFacts
    text: TextFacts
    timing: TimingFacts
    reference: str
    precisions: tuple[Precision, ...]
    not_measured: tuple[NotMeasured, ...] = ()
    published: tuple[Published, ...] = ()
    files: Files | None = None
    tasks: TaskFacts | None = None
    scoring: ScoringFacts | None = None  # None in older results
    schema: int = SCHEMA

    def as_document(self) -> dict[str, Any]:
        document = asdict(self)
        return {"schema": document.pop("schema"), **document}

    def is_of(self, cpu_name: str, num_cores: float) -> bool:
        """Whether it was measured on a machine like this."""
        machine = self.machine
        return (machine.get("cpu_name"), machine.get("num_cores")) == (cpu_name, num_cores)

    @property
    def computed_on(self) -> tuple[str, ...]:
        """The names of the GPUs that computed; of none where the processor did."""
        one = self.precision(self.reference)
        is_on_gpu = one is not None and one.memory.is_on_gpu
        return tuple(self.machine.get("gpus") or ()) if is_on_gpu else ()

    def label_of(self, one: Precision) -> str:
        """Its name for a table or a plot, with its engine where that is another than most have."""
        is_usual = one.engine in ("", self.timing.engine)
        return one.precision if is_usual else f"{one.precision}, {one.engine}"

    def precision(self, name: str) -> Precision | None:
        return next((one for one in self.precisions if one.precision == name), None)


def read_result(path: Path) -> Result:
    """The result in a JSON file; raises NotFound and InvalidRequest."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidRequest(f"'{path.name}' is too large for a result.")
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no result '{path}'.", hint="`hearth measure MODEL` makes one"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"'{path.name}' cannot be read as JSON.") from error
    return result_of(document, path.name)


def result_of(document: object, name: str) -> Result:
    """A document as a result; raises InvalidRequest."""
    from pydantic import TypeAdapter, ValidationError

    schema = document.get("schema") if isinstance(document, Mapping) else None
    if schema != SCHEMA:
        raise InvalidRequest(
            f"'{name}' is no result of `hearth measure` that can be read here "
            f"(schema {str(schema)[:20]}, not {SCHEMA}).",
            hint="measure again with this version",
        )
    try:
        return TypeAdapter(Result).validate_python(document)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InvalidRequest(f"'{name}' is no result: '{place}' is not as it should be.") from error


def results(folder: Path) -> tuple[Result, ...]:
    """Every readable result in the lab's folder, the newest first."""
    found = []
    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            found.append(read_result(path))
        except (InvalidRequest, NotFound):
            continue
    return tuple(found)
