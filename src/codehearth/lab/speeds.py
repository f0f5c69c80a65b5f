"""How fast each engine is with a model on this machine: kept by `hearth measure --engines`, and
read when an engine is chosen.

Next to it, what `hearth measure` found about precisions counts too: it timed the engine that serves
the model. Of several measurements of one engine the newest counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from codehearth.engines.measured import Speed
from codehearth.errors import DiskFull
from codehearth.lab.result import Memory, Noise, Sample, Streams, results
from codehearth.models.hardware import Hardware
from codehearth.models.whole_file import write_whole

_FOLDER = "engines"
_MAX_BYTES = 1 << 20
_SCHEMA = 1


@dataclass(frozen=True)
class EngineSpeed:
    """One engine with what it loaded; times in seconds, speeds in tokens per second."""

    label: str
    model: str
    engine: str
    precision: str
    load_s: Sample
    ttft_s: Sample
    streams: tuple[Streams, ...]
    memory: Memory


@dataclass(frozen=True)
class EngineSpeeds:
    """All engines of one run, with the machine and who else used it meanwhile."""

    id: str
    created_at: str
    cpu_name: str
    num_cores: float
    noise: Noise
    speeds: tuple[EngineSpeed, ...]
    gpus: tuple[str, ...] = ()  # their names
    schema: int = _SCHEMA

    def as_document(self) -> dict[str, Any]:
        return asdict(self)


def keep_speeds(found: EngineSpeeds, lab: Path) -> Path:
    """Writes the speeds below the lab's folder; raises DiskFull."""
    path = lab / _FOLDER / f"{found.id}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(found.as_document(), indent=1) + "\n")
    except OSError as error:
        raise DiskFull(f"The speeds cannot be written ({error.strerror}).") from error
    return path


def measured_speeds(lab: Path, model: str, hardware: Hardware) -> Mapping[str, Speed]:
    """The newest speed of each engine with `model` on this machine; empty where none is known.

    Figures of a GPU are those of a GPU of the same name.
    """
    found: dict[str, tuple[str, Speed]] = {}
    for at, engine, speed in (
        *_of_engines(lab, model, hardware),
        *_of_results(lab, model, hardware),
    ):
        if engine not in found or found[engine][0] < at:
            found[engine] = (at, speed)
    return {engine: speed for engine, (_, speed) in found.items()}


def _of_engines(lab: Path, model: str, hardware: Hardware) -> Iterator[tuple[str, str, Speed]]:
    for path in sorted((lab / _FOLDER).glob("*.json")):
        try:
            if path.stat().st_size > _MAX_BYTES:
                continue
            run = json.loads(path.read_bytes())
            is_ours = (run["cpu_name"], run["num_cores"]) == (hardware.cpu_name, hardware.num_cores)
            if run["schema"] != _SCHEMA or not is_ours:
                continue
            at = str(run["created_at"])
            for one in run["speeds"]:
                on = tuple(run.get("gpus", ())) if one["memory"]["gpu_predicted_bytes"] else ()
                if one["model"] == model and one["precision"] == "" and _is_here(on, hardware):
                    decode = float(one["streams"][0]["decode_tokens_per_s"]["median"])
                    speed = Speed(float(one["ttft_s"]["median"]), decode, at[:10])
                    yield at, str(one["engine"]), _of(speed, on, hardware)
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            continue  # damaged, or of another release: as if it were not there


def _of_results(lab: Path, model: str, hardware: Hardware) -> Iterator[tuple[str, str, Speed]]:
    for result in results(lab):
        one = result.precision(result.reference)
        alone = one.at(1) if one is not None else None
        on = result.computed_on
        is_ours = result.is_of(hardware.cpu_name, hardware.num_cores) and _is_here(on, hardware)
        if result.model.name == model and is_ours and one is not None and alone is not None:
            at = result.created_at
            decode = alone.decode_tokens_per_s.median
            speed = Speed(one.ttft_s.median, decode, at[:10])
            yield at, result.timing.engine, _of(speed, on, hardware)


def _is_here(computed_on: tuple[str, ...], hardware: Hardware) -> bool:
    """Whether the GPUs that computed, if any did, are those of this machine."""
    return not computed_on or computed_on == tuple(gpu.name for gpu in hardware.gpus)


def _of(speed: Speed, computed_on: tuple[str, ...], hardware: Hardware) -> Speed:
    return replace(speed, left_gpus_idle=bool(hardware.gpus) and not computed_on)
