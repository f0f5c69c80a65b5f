"""The forms of a tuned model: made from the merged checkpoint, and compared with the adapter."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codehearth.errors import EngineFailed, Unsupported
from codehearth.lab import quantize
from codehearth.lab.checkpoint_source import checkpoint_source
from codehearth.lab.layout import layout
from codehearth.lab.mixture import recipe_of
from codehearth.lab.tuning import asking
from codehearth.lab.tuning.adapter import write_gguf_adapter
from codehearth.lab.tuning.parity import Parity, answer_of, bound_for, compare
from codehearth.models.local_models import LocalModel
from codehearth.models.made import Made, MadeModel
from codehearth.models.tuned import ADAPTER, GGUF, GGUF_ADAPTER, MERGED, TunedModel
from codehearth.models.weights import read_weights


def converted(
    record: TunedModel,
    work: Path,
    base: LocalModel,
    *,
    num_threads: int,
    free_bytes: Callable[[Path], int],
    say: Callable[[str], None],
) -> TunedModel:
    """Writes the GGUFs beside the checkpoint, where llama.cpp's forms can hold them."""
    try:
        if not (work / GGUF).is_file():
            _write_gguf(record, work, num_threads, free_bytes)
    except Unsupported as error:
        say(f"there will be no GGUF, the engine transformers serves it: {error.message}")
        return replace(record, has_gguf=False, has_adapter=False)
    try:
        write_gguf_adapter(work / ADAPTER, base.folder, work / GGUF_ADAPTER, name=record.name)
    except Unsupported as error:
        say(error.message)
        record = replace(record, has_adapter=False)
    return replace(record, sha256=_sha256(work / GGUF))


def _write_gguf(
    record: TunedModel, work: Path, num_threads: int, free_bytes: Callable[[Path], int]
) -> None:
    source = checkpoint_source(work / MERGED, name=record.name)
    made = Made(work / "gguf")
    quantised = quantize.run(
        layout(source, recipe_of(record.precision)),
        made,
        MadeModel(record.name, record.precision),
        num_threads=num_threads,
        free_bytes=free_bytes,
        progress=lambda progress: None,
    )
    quantised.path.replace(work / GGUF)
    shutil.rmtree(made.folder, ignore_errors=True)


def compared_forms(
    record: TunedModel,
    work: Path,
    probes: Mapping[str, Any],
    asked: Sequence[Mapping[str, Any]],
    *,
    base_gguf: LocalModel | None,
    num_threads: int,
    num_new: int,
) -> list[Parity]:
    """Each form that was made, against the adapter on its base.

    The adapter beside a GGUF of the base is asked where one is on this machine.
    """
    reference = [answer_of(one) for one in probes["adapter"]]
    merged = [answer_of(one) for one in probes["merged"]]
    found = [compare("merged checkpoint", reference, merged, bound=bound_for("bf16"))]
    if not record.has_gguf:
        return found
    answers = asking.answers(work / GGUF, asked, num_new=num_new, num_threads=num_threads)
    bound = bound_for(record.precision)
    found.append(compare(f"GGUF {record.precision}", reference, answers, bound=bound))
    if record.has_adapter and base_gguf is not None:
        # The base's own template knows nothing of the system prompt: it is said.
        plain = [{name: one[name] for name in one if name != "bare"} for one in asked]
        answers = asking.answers(
            base_gguf.path,
            plain,
            num_new=num_new,
            num_threads=num_threads,
            adapter=work / GGUF_ADAPTER,
        )
        precision = read_weights(base_gguf.path).precision
        form = f"adapter on {base_gguf.name} ({precision})"
        found.append(compare(form, reference, answers, bound=bound_for(precision)))
    return found


def require_parity(compared: Sequence[Parity]) -> None:
    """Raises EngineFailed for a form that answers otherwise."""
    for one in compared:
        if not one.agrees:
            raise EngineFailed(
                f"The {one.form} does not answer as the trained adapter does: {one.problem}. "
                "Nothing was registered.",
                hint="the job's folder is kept; please report this with its probes.json",
                retry_after_s=None,
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
