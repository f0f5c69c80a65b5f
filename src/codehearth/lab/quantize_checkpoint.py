"""A checkpoint in int8, int4 or gptq4: planned, computed by a child, put where the store looks.

`quantize`'s sibling for the formats of other engines. The child (`torch_quantizer`) runs under the
Python of the environment of transformers, where bitsandbytes and GPTQModel are. It writes into an
unfinished folder beside the place of the result; a name never means half a model.

    NAME.unfinished/model            what is written last
    NAME.unfinished/scratch          GPTQModel's own
    NAME.unfinished/kept-IDENTITY    its state after each layer, from which a run that was cut off
                                     goes on; what another job has kept is deleted
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codehearth.engines.base import Unavailable
from codehearth.engines.installed import Installed
from codehearth.engines.transformers import Transformers
from codehearth.errors import DiskFull, DoesNotFit, EngineFailed, EngineMissing, InvalidRequest
from codehearth.lab.child import child_lines
from codehearth.lab.quantize import Quantised, require_room
from codehearth.lab.texts import Text
from codehearth.models import checkpoint
from codehearth.models.facts import Weights
from codehearth.models.local_models import LocalModel
from codehearth.models.made import UNFINISHED, Made, MadeModel, made_alone
from codehearth.models.safetensors_weights import read_safetensors_weights
from codehearth.models.torch_memory import weights_bytes
from codehearth.models.transfer import file_digest
from codehearth.models.words import in_bytes

# A calibration text is cut into so many windows at most, of so many tokens.
CONTEXT_TOKENS = 512
MAX_WINDOWS = 128

# Python, PyTorch and the library, with what it computes with in between.
_PROCESS_BYTES = 1 << 30

Step = Callable[[str, float], None]


@dataclass(frozen=True)
class _Format:
    """`package` makes it, which `install` brings; `calibrated`: from a text."""

    package: str
    title: str
    install: str
    calibrated: bool = False


_INSTALL = "`hearth engines install transformers`"
FORMATS = {
    "int8": _Format("bitsandbytes", "bitsandbytes", _INSTALL),
    "int4": _Format("bitsandbytes", "bitsandbytes", _INSTALL),
    "gptq4": _Format("gptqmodel", "GPTQModel", f"{_INSTALL[:-1]} --with gptq`", calibrated=True),
}


@dataclass(frozen=True)
class Plan:
    """What will be made. Sizes are estimates: what was made is measured."""

    precision: str
    source: LocalModel
    weights: Weights
    python: Path
    text: Text | None = None

    @property
    def num_bytes(self) -> int:
        bits = "int4" if self.precision == "gptq4" else self.precision
        return weights_bytes(replace(self.weights, precision="BF16"), bits)

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.num_bytes / max(1, self.weights.num_parameters)

    @property
    def memory_bytes(self) -> int:
        """About what the child holds: bitsandbytes what it makes, GPTQModel all in 16 bits."""
        is_packed_at_once = FORMATS[self.precision].package == "bitsandbytes"
        held = self.num_bytes if is_packed_at_once else 2 * self.weights.num_parameters
        return held + _PROCESS_BYTES

    def identity(self) -> str:
        """Two jobs of one identity make the same model, unless a source file was changed."""
        files = [self.source.folder / file for file in self.source.files]
        stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        text = self.text.sha256 if self.text else ""
        facts = (self.precision, text, CONTEXT_TOKENS, MAX_WINDOWS, stats)
        return hashlib.sha256(repr(facts).encode()).hexdigest()


def plan(
    precision: str, source: LocalModel, engine: Transformers, text: Text | None = None
) -> Plan:
    """Raises EngineMissing with the command that brings what makes it, BadWeights, and
    InvalidRequest for a checkpoint that has code of its own."""
    kind = FORMATS[precision]
    state = engine.state
    availability = engine.availability()
    if isinstance(availability, Unavailable) or not isinstance(state, Installed):
        reason = availability.reason if isinstance(availability, Unavailable) else "it is not here"
        raise EngineMissing(
            f"{kind.title} makes {precision}, in the environment of the engine transformers, and "
            f"{reason}.",
            hint=kind.install,
            retry_after_s=None,
        )
    if kind.package not in (state.facts.get("quantisers") or ()):
        raise EngineMissing(
            f"{kind.title} makes {precision}, and it is not beside the engine transformers.",
            hint=kind.install,
            retry_after_s=None,
        )
    if checkpoint.code_needed(source.folder, source.files):
        raise InvalidRequest(
            f"'{source.name}' has code of its own, which {precision} of it would need too.",
            hint="its own precision is served; `hearth quantize --to q8_0` may make a GGUF",
            param="model",
        )
    weights = read_safetensors_weights(source.folder)
    return Plan(precision, source, weights, state.python, text if kind.calibrated else None)


def require_memory(planned: Plan, free_bytes: int) -> None:
    """Raises DoesNotFit."""
    if planned.memory_bytes > free_bytes:
        raise DoesNotFit(
            f"{planned.precision} of '{planned.source.name}' is made in about "
            f"{in_bytes(planned.memory_bytes)} of memory; {in_bytes(free_bytes)} are free.",
            needed_bytes=planned.memory_bytes,
            free_bytes=free_bytes,
            hint="a GGUF is made in little memory: --to q4_k_m",
        )


def run(
    planned: Plan,
    made: Made,
    model: MadeModel,
    *,
    num_threads: int,
    free_bytes: Callable[[Path], int],
    step: Step,
) -> Quantised:
    """Makes `model`; one that is there and whole is left as it is.

    Raises BadWeights for a damaged source, InvalidRequest for a text too short, DiskFull,
    EngineFailed, and Overloaded where another command is making the same.
    """
    started = time.monotonic()
    identity, target = planned.identity(), made.path_of(model)
    present = made.get(model.name)
    if present is not None and present.identity == identity:
        return _result(present, target, 0.0, was_there=True)
    with made_alone(target):
        unfinished = target.with_name(target.name + UNFINISHED)
        progress = unfinished / f"kept-{identity[:16]}"
        try:
            _cleared(unfinished, but=progress)
            require_room(planned.num_bytes, target.parent, free_bytes)
            _compute(planned, unfinished, progress, num_threads, step)
            whole = unfinished / "model"
            _complete(whole, planned)
            record = made.put(_described(model, whole, identity), whole)
        except (KeyboardInterrupt, SystemExit):
            if not progress.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
            raise  # the same command goes on from what is kept
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        shutil.rmtree(unfinished, ignore_errors=True)
    return _result(record, target, time.monotonic() - started)


def _cleared(folder: Path, *, but: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            if path != but:
                shutil.rmtree(path)
    except OSError as error:
        raise DiskFull(f"The folder cannot be written ({error.strerror}).") from error


def _compute(planned: Plan, unfinished: Path, progress: Path, num_threads: int, step: Step) -> None:
    job: dict[str, Any] = {
        "model": str(planned.source.folder.absolute()),
        "precision": planned.precision,
        "target": str(unfinished.absolute() / "model"),
        "scratch": str(unfinished.absolute() / "scratch"),
        "progress": str(progress.absolute()),
        "num_threads": num_threads,
        "num_layers": planned.weights.num_layers,
        "text": planned.text.content if planned.text else "",
        "context_tokens": CONTEXT_TOKENS,
        "max_windows": MAX_WINDOWS,
    }
    is_done = False
    for line in child_lines("codehearth.lab.torch_quantizer", job, python=planned.python):
        is_done = line.get("stage") == "done"
        if not is_done:
            step(f"{planned.precision}: {line['stage']}", float(line["share"]))
    if not is_done:
        raise EngineFailed("The quantiser ended without a result.", retry_after_s=None)


def _complete(whole: Path, planned: Plan) -> None:
    """Tokenizer, template and end tokens are the source's: what quantises rewrites some of them."""
    for path in list(whole.iterdir()):
        is_ours = path.name.endswith((".safetensors", ".safetensors.index.json"))
        if path.name != "config.json" and not is_ours:
            path.unlink()
    for name in checkpoint.text_files(planned.source.files):
        if name != "config.json" and not name.endswith(".index.json"):
            shutil.copyfile(planned.source.folder / name, whole / name)
    for path in whole.iterdir():
        path.chmod(0o644)
    weights = read_safetensors_weights(whole)
    same = ("architecture", "num_layers", "embedding_size", "vocabulary_size")
    if any(getattr(weights, name) != getattr(planned.weights, name) for name in same):
        raise EngineFailed("The quantiser has written another model than planned.")


def _described(model: MadeModel, whole: Path, identity: str) -> MadeModel:
    files = sorted(path for path in whole.iterdir() if path.is_file())
    return replace(
        model,
        identity=identity,
        num_bytes=sum(path.stat().st_size for path in files),
        files={path.name: file_digest(path, "sha256") for path in files},
    )


def _result(
    record: MadeModel, target: Path, seconds: float, *, was_there: bool = False
) -> Quantised:
    weights = read_safetensors_weights(target)
    digests = [sha for name, sha in record.files.items() if name.endswith(".safetensors")]
    return Quantised(
        name=record.name,
        precision=record.precision,
        path=target,
        num_bytes=record.num_bytes,
        num_parameters=weights.num_parameters,
        bits_per_weight=weights.bits_per_weight,
        types=dict(Counter(weights.bytes_by_type.keys())),
        num_fallbacks=0,
        sha256=",".join(digests),
        seconds=seconds,
        was_there=was_there,
    )
