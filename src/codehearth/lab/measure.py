"""All precisions of one model: made, read through a text, timed; one result.

1. The reference is the model as it is here, which should be the best that there is; a checkpoint
   becomes a GGUF of its own precision. The other precisions are made from it where they are missing.
2. Loss: every precision reads the same windows of the same text (`scoring`).
3. Speed and memory: every precision takes its turns in the engine that serves (`timing`).
4. Report and plots (`report`, `plots`); the JSON is written last.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codehearth import __version__
from codehearth.engines.threads import threads_for
from codehearth.errors import InvalidRequest, Unsupported
from codehearth.lab import quantize, scoring, timing
from codehearth.lab.layout import layout
from codehearth.lab.mixture import RECIPES, Recipe, recipe_of
from codehearth.lab.naming import base_of
from codehearth.lab.result import (
    File,
    ModelFacts,
    NotMeasured,
    Precision,
    Published,
    Result,
    TextFacts,
    TimingFacts,
)
from codehearth.lab.source import SourceModel
from codehearth.lab.sources import source_of
from codehearth.lab.statistics import quantiles, sample
from codehearth.lab.texts import Text
from codehearth.models import precisions as names
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.local_models import LocalModel
from codehearth.models.made import Made, MadeModel
from codehearth.models.transfer import file_digest
from codehearth.models.weights import read_weights

DEFAULT_PRECISIONS = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k")

MAX_WINDOWS = 40
MAX_LOGITS_BYTES = 4 << 30
# A text is read for about so long by each precision; how fast a core reads is `threads`' estimate.
_READING_S = 150.0
_CORE_OPERATIONS_PER_S = 90e9
# One token is decoded as fast as all weights pass through the memory.
_MEMORY_BYTES_PER_S = 10e9


@dataclass(frozen=True)
class Options:
    """What is asked for. `precisions` None: the usual ones below the reference."""

    model: LocalModel
    text: Text
    context_tokens: int
    precisions: tuple[str, ...] | None = None
    num_threads: int | None = None
    llama_server: str = "auto"
    seed: int = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where things are kept, and how much room there is."""

    made: Made
    scratch: Path
    free_bytes: Callable[[Path], int]


@dataclass(frozen=True)
class Listener:
    """Who is told: `say` of choices with their reasons, `step` of how far a stage is."""

    say: Callable[[str], None]
    step: Callable[[str, float], None]


@dataclass(frozen=True)
class _Candidate:
    """One precision on disk. `file` is the GGUF's first file."""

    precision: str
    path: Path
    weights: Weights
    num_bytes: int
    sha256: str
    is_reference: bool = False


@dataclass
class _Wanted:
    recipes: list[Recipe] = field(default_factory=list)
    missing: list[NotMeasured] = field(default_factory=list)


def run(options: Options, place: Place, hardware: Hardware, listener: Listener) -> Result:
    """Measures; raises what quantising, scoring and timing raise, InvalidRequest for a text too
    short, and Unsupported for a model that writes no text."""
    started, now = time.monotonic(), datetime.datetime.now(datetime.UTC)
    candidates, missing = _candidates(options, place, hardware, listener)
    reference = candidates[0]
    if reference.weights.is_embedding_model:
        raise Unsupported(f"'{options.model.name}' makes vectors, no text: nothing to measure.")
    num_threads = options.num_threads or threads_for(
        hardware.num_cores,
        hardware.num_physical_cores,
        num_parameters=reference.weights.num_parameters,
    )
    tokens, vocabulary_size = scoring.tokenize(reference.path, options.text.content)
    windows = _windows(options, tokens, vocabulary_size, reference.weights, hardware, listener)
    scores = _scores(candidates, windows, place, num_threads, listener)
    plan = _timing_plan(options, reference.weights, num_threads, hardware)
    timed = _timed(candidates, tokens, plan, options, hardware, listener)
    return Result(
        id=f"{now.strftime('%Y%m%d-%H%M%S')}-{_plain(base_of(options.model))}",
        created_at=now.isoformat(timespec="seconds"),
        command=options.command,
        seed=options.seed,
        duration_s=round(time.monotonic() - started, 1),
        versions=_versions(),
        machine=_machine(hardware),
        noise=timed.noise,
        model=_model_facts(options.model, reference.weights),
        text=TextFacts(
            title=options.text.title,
            sha256=options.text.sha256,
            num_bytes=len(options.text.content.encode()),
            num_tokens=len(tokens),
            num_windows=len(windows.windows),
            context_tokens=windows.context_tokens,
            num_scored_tokens=windows.num_scored_tokens,
        ),
        timing=TimingFacts(
            engine=timed.engine,
            num_threads=num_threads,
            num_rounds=plan.num_rounds,
            prompt_tokens=plan.prompt_tokens,
            new_tokens=plan.new_tokens,
            context_tokens=plan.context_tokens,
            num_slots=plan.num_slots,
        ),
        reference=reference.precision,
        precisions=tuple(
            _precision(one, scores, scores[reference.precision], timed, options.seed)
            for one in sorted(candidates, key=lambda one: -one.num_bytes)
        ),
        not_measured=tuple(missing),
        published=_published(options.model),
    )


# --- which precisions -----------------------------------------------------------------------------


def _candidates(
    options: Options, place: Place, hardware: Hardware, listener: Listener
) -> tuple[list[_Candidate], list[NotMeasured]]:
    """The reference first, then the others, made where they are missing."""
    source = source_of(options.model)
    reference = _reference(options.model, source, place, hardware, listener)
    wanted = _wanted(options.precisions, reference.precision)
    if not wanted.recipes:
        raise InvalidRequest(
            f"There is nothing to compare '{reference.precision}' with.",
            hint=f"--precisions, of these: {', '.join(RECIPES)}",
        )
    others = [
        _made(options.model, source, recipe, place, hardware, listener) for recipe in wanted.recipes
    ]
    listener.say(
        f"reference: {reference.precision}, the model as it is here; all loss is counted from it"
    )
    return [reference, *others], wanted.missing


def _wanted(precisions: tuple[str, ...] | None, reference: str) -> _Wanted:
    """What was asked for, or the usual ones that are smaller than the reference."""
    wanted = _Wanted()
    bits = names.BITS_PER_WEIGHT
    if precisions is None:
        limit = bits.get(reference, 32.0)
        wanted.recipes = [
            RECIPES[name] for name in DEFAULT_PRECISIONS if bits[name] < limit and name != reference
        ]
        return wanted
    for name in dict.fromkeys(precisions):
        try:
            recipe = recipe_of(name)
        except InvalidRequest as error:
            wanted.missing.append(NotMeasured(name, error.message, error.hint or ""))
            continue
        if recipe.precision != reference and recipe not in wanted.recipes:
            wanted.recipes.append(recipe)
    if wanted.missing and not wanted.recipes:
        raise InvalidRequest(wanted.missing[0].reason, hint=wanted.missing[0].hint)
    return wanted


def _reference(
    model: LocalModel, source: SourceModel, place: Place, hardware: Hardware, listener: Listener
) -> _Candidate:
    if model.format == "safetensors":
        name = names.normalised(model.precision or "bf16")
        recipe = RECIPES.get(name, RECIPES["bf16"])
        made = _made(model, source, recipe, place, hardware, listener)
        return _Candidate(
            made.precision, made.path, made.weights, made.num_bytes, made.sha256, is_reference=True
        )
    weights = read_weights(model.path)
    digests = [model.sha256.get(path.name) or file_digest(path, "sha256") for path in source.files]
    return _Candidate(
        precision=names.normalised(weights.precision),
        path=model.path,
        weights=weights,
        num_bytes=sum(path.stat().st_size for path in source.files),
        sha256=digests[0] if len(digests) == 1 else ",".join(digests),
        is_reference=True,
    )


def _made(
    model: LocalModel,
    source: SourceModel,
    recipe: Recipe,
    place: Place,
    hardware: Hardware,
    listener: Listener,
) -> _Candidate:
    row = model.row.name if model.row is not None else None
    wanted = MadeModel(base_of(model), recipe.precision, row)
    made = quantize.run(
        layout(source, recipe),
        place.made,
        wanted,
        num_threads=max(1, int(hardware.num_cores)),
        free_bytes=place.free_bytes,
        progress=lambda progress: listener.step(
            f"making {recipe.precision}", progress.done_bytes / progress.total_bytes
        ),
    )
    return _Candidate(
        recipe.precision, made.path, read_weights(made.path), made.num_bytes, made.sha256
    )


# --- how much of everything -------------------------------------------------------------------------


def _reading_speed(weights: Weights, hardware: Hardware) -> float:
    """About how many tokens of text a second this machine reads with the model."""
    operations = _CORE_OPERATIONS_PER_S * max(1.0, hardware.num_cores)
    return operations / (2 * max(1, weights.num_parameters))


def _decoding_speed(weights: Weights) -> float:
    return _MEMORY_BYTES_PER_S / max(1, weights.num_bytes)


def _windows(
    options: Options,
    tokens: Sequence[int],
    vocabulary_size: int,
    weights: Weights,
    hardware: Hardware,
    listener: Listener,
) -> scoring.Windows:
    context = options.context_tokens
    if context > weights.context_tokens:
        raise InvalidRequest(
            f"The model has a context of {weights.context_tokens} tokens, not {context}.",
            hint="take a smaller --context",
        )
    by_time = int(_reading_speed(weights, hardware) * _READING_S / context)
    by_room = MAX_LOGITS_BYTES // (4 * (context - context // 2 - 1) * vocabulary_size)
    wanted = max(scoring.MIN_WINDOWS, min(MAX_WINDOWS, by_time, by_room))
    num_prompts = max(6, min(24, int(_decoding_speed(weights) * 60 / scoring.NEW_TOKENS)))
    windows = scoring.cut(
        tokens,
        vocabulary_size=vocabulary_size,
        context_tokens=context,
        max_windows=wanted,
        num_prompts=num_prompts,
    )
    listener.say(
        f"text: {len(windows.windows)} windows of {context} tokens of {options.text.title}, "
        f"{windows.num_scored_tokens} tokens scored"
    )
    return windows


def _timing_plan(
    options: Options, weights: Weights, num_threads: int, hardware: Hardware
) -> timing.Plan:
    """Prompts and answers as long as seconds allow: 8 prompts in 20 s, an answer in 10 s."""
    many = timing.NUM_SLOTS
    prompt = max(32, min(256, int(_reading_speed(weights, hardware) * 20 / many)))
    new = max(8, min(128, int(_decoding_speed(weights) * 10)))
    needed = -(-(prompt + new + 16) // 256) * 256
    return timing.Plan(
        num_threads=num_threads,
        context_tokens=min(weights.context_tokens, needed),
        prompt_tokens=prompt,
        new_tokens=new,
    )


# --- measuring ------------------------------------------------------------------------------------


def _scores(
    candidates: Sequence[_Candidate],
    windows: scoring.Windows,
    place: Place,
    num_threads: int,
    listener: Listener,
) -> dict[str, scoring.Scores]:
    found: dict[str, scoring.Scores] = {}
    with scoring.kept_logits(windows, place.scratch, place.free_bytes) as logits:
        for one in candidates:
            found[one.precision] = scoring.score(
                one.path,
                windows,
                logits,
                is_reference=one.is_reference,
                num_threads=num_threads,
                done=_windows_done(listener, one.precision, len(windows.windows)),
            )
    return found


def _windows_done(listener: Listener, precision: str, total: int) -> Callable[[int], None]:
    return lambda done: listener.step(f"reading with {precision}", done / total)


def _timed(
    candidates: Sequence[_Candidate],
    tokens: Sequence[int],
    plan: timing.Plan,
    options: Options,
    hardware: Hardware,
    listener: Listener,
) -> timing.Timed:
    subjects = [timing.Subject(one.precision, one.path, one.weights) for one in candidates]
    listener.say(
        f"timing: {plan.num_rounds} rounds, {plan.num_threads} threads, prompts of "
        f"{plan.prompt_tokens} tokens, answers of {plan.new_tokens}"
    )
    turns = plan.num_rounds * len(subjects)
    taken = 0

    def turn_done(precision: str, number: int) -> None:
        nonlocal taken
        taken += 1
        listener.step(f"timing {precision}, round {number}", taken / turns)

    return timing.measure(
        subjects,
        tokens,
        plan,
        hardware,
        llama_server=options.llama_server,
        turn_done=turn_done,
    )


# --- the result -----------------------------------------------------------------------------------


def _precision(
    one: _Candidate,
    scores: dict[str, scoring.Scores],
    reference: scoring.Scores,
    timed: timing.Timed,
    seed: int,
) -> Precision:
    found, ours = timed.timings[one.precision], scores[one.precision]
    return Precision(
        precision=one.precision,
        is_reference=one.is_reference,
        file=File(one.path.name, one.num_bytes, one.sha256),
        bits_per_weight=one.weights.bits_per_weight,
        load_s=sample(found.load_s),
        ttft_s=sample(found.ttft_s),
        streams=found.streams(),
        memory=found.memory(),
        loss=(
            scoring.loss_of_reference(ours)
            if one.is_reference
            else scoring.loss_of(ours, reference, seed=seed)
        ),
        kl_quantiles=() if one.is_reference else quantiles(ours.kl),
    )


def _model_facts(model: LocalModel, weights: Weights) -> ModelFacts:
    return ModelFacts(
        name=model.name,
        source=model.source,
        architecture=weights.architecture,
        num_parameters=weights.num_parameters,
        vocabulary_size=weights.vocabulary_size,
        context_tokens=weights.context_tokens,
        licence=weights.licence,
    )


def _published(model: LocalModel) -> tuple[Published, ...]:
    figures = model.row.figures if model.row is not None else ()
    return tuple(
        Published(one.benchmark, one.metric, one.value, one.precision, one.source)
        for one in figures
    )


def _versions() -> dict[str, str]:
    packages = ("xllamacpp", "numpy")
    return {
        "codehearth": __version__,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }


def _machine(hardware: Hardware) -> dict[str, object]:
    return {
        "system": hardware.system,
        "machine": hardware.machine,
        "cpu_name": hardware.cpu_name,
        "num_cores": hardware.num_cores,
        "num_physical_cores": hardware.num_physical_cores,
        "total_bytes": hardware.total_bytes,
        "gpus": [gpu.name for gpu in hardware.gpus],
    }


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60]
