"""All precisions of one model: made, read through a text, timed; one result.

1. The reference is the model as it is here, which should be the best that there is; a checkpoint
   becomes a GGUF of its own precision. The others are made from it where they are missing.
2. Loss: every precision reads the same windows of the same text (`scoring`).
3. Speed and memory: every precision takes its turns in the engine that serves (`timing`).
4. pass@1: every precision solves the same tasks, where there is a sandbox and it takes no hours
   (`passing`).
5. Report and plots (`report`, `plots`); the JSON is written last.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codehearth.engines import choose_engine
from codehearth.engines.base import Engine
from codehearth.engines.threads import threads_for
from codehearth.errors import InvalidRequest, Unsupported
from codehearth.lab import passing, scoring, timing
from codehearth.lab.candidates import Candidate, Listener, Place, candidates_of
from codehearth.lab.circumstances import (
    library_of,
    machine_facts,
    model_facts,
    published,
    versions,
)
from codehearth.lab.extent import extent, timing_plan
from codehearth.lab.keeping import kept
from codehearth.lab.naming import base_of, run_id
from codehearth.lab.passing import Wish
from codehearth.lab.result import (
    File,
    Precision,
    Result,
    ScoringFacts,
    TextFacts,
    TimingFacts,
)
from codehearth.lab.statistics import quantiles, sample
from codehearth.lab.texts import Text
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.local_models import LocalModel
from codehearth.models.torch_memory import weights_bytes
from codehearth.models.weights import weights_here


@dataclass(frozen=True)
class Options:
    """What is asked for. `precisions` None: the usual ones below the reference."""

    model: LocalModel
    text: Text
    context_tokens: int
    precisions: tuple[str, ...] | None = None
    num_threads: int | None = None
    llama_server: str = "auto"
    environments: Path | None = None
    seed: int = 0
    pass_at_1: Wish = "auto"  # noqa: S105 - no password
    command: tuple[str, ...] = ()


def run(options: Options, place: Place, hardware: Hardware, listener: Listener) -> Result:
    """Measures; raises what quantising, scoring and timing raise, InvalidRequest for a text too
    short, and Unsupported for a model that writes no text."""
    started, now = time.monotonic(), datetime.datetime.now(datetime.UTC)
    _check(options, weights_here(options.model))

    def accept(reference: Candidate) -> None:
        found, _ = scoring.tokenize(reference.path, options.text.content)
        scoring.require_length(len(found), options.context_tokens)

    candidates, missing = candidates_of(
        options.model, options.precisions, place, hardware, listener, accepts=accept
    )
    reference = candidates[0]
    engine = choose_engine(
        reference.weights, llama_server=options.llama_server, environments=options.environments
    ).engine
    num_threads = options.num_threads or threads_for(
        hardware.num_cores,
        hardware.num_physical_cores,
        num_parameters=reference.weights.num_parameters,
    )
    library = library_of(engine)
    tokens, vocabulary_size = scoring.tokenize(reference.path, options.text.content, library)
    windows = _windows(options, tokens, vocabulary_size, reference.weights, hardware, listener)
    scores = _scores(candidates, windows, library, place, num_threads, listener)
    plan = timing_plan(reference.weights, num_threads, hardware)
    timed = _timed(candidates, engine, tokens, plan, hardware, listener)
    passed = passing.measure(
        candidates, engine, timed, options.pass_at_1, place.scratch, num_threads, hardware, listener
    )
    return Result(
        id=run_id(now, base_of(options.model)),
        created_at=now.isoformat(timespec="seconds"),
        command=options.command,
        seed=options.seed,
        duration_s=round(time.monotonic() - started, 1),
        versions=versions(candidates),
        machine=machine_facts(hardware),
        noise=timed.noise,
        model=model_facts(options.model, reference.weights),
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
            engine=engine.name,
            num_threads=num_threads,
            num_rounds=plan.num_rounds,
            prompt_tokens=plan.prompt_tokens,
            new_tokens=plan.new_tokens,
            context_tokens=plan.context_tokens,
            num_slots=plan.num_slots,
        ),
        reference=reference.precision,
        precisions=tuple(
            replace(
                _precision(one, scores, scores[reference.precision], timed, engine, options.seed),
                pass_at_1=passed.by_precision.get(one.precision),
            )
            for one in sorted(candidates, key=lambda one: -one.num_bytes)
        ),
        not_measured=tuple(missing),
        published=published(options.model),
        tasks=passed.tasks,
        scoring=ScoringFacts(library.name, library.version),
    )


def _check(options: Options, weights: Weights) -> None:
    """What can be seen before anything is made."""
    if weights.is_embedding_model:
        raise Unsupported(f"'{options.model.name}' makes vectors, no text: nothing to measure.")
    if weights.kind == "safetensors" and weights.precision.startswith("INT"):
        base, _, precision = options.model.name.rpartition(":")
        compares = f"`hearth measure {base} --precisions {precision}` compares it"
        times = f"`hearth measure {options.model.name} --engines transformers` times it"
        raise Unsupported(
            f"'{options.model.name}' is quantised ({weights.precision}): there is nothing to count "
            "its loss from.",
            hint=compares if options.model.source == "made" else times,
        )
    if options.context_tokens > weights.context_tokens:
        raise InvalidRequest(
            f"The model has a context of {weights.context_tokens} tokens, not "
            f"{options.context_tokens}.",
            hint="take a smaller --context",
        )


def _windows(
    options: Options,
    tokens: Sequence[int],
    vocabulary_size: int,
    weights: Weights,
    hardware: Hardware,
    listener: Listener,
) -> scoring.Windows:
    context = options.context_tokens
    limits = extent(weights, hardware, context_tokens=context, vocabulary_size=vocabulary_size)
    windows = scoring.cut(
        tokens,
        vocabulary_size=vocabulary_size,
        context_tokens=context,
        max_windows=limits.max_windows,
        num_prompts=limits.num_prompts,
    )
    listener.say(
        f"text: {len(windows.windows)} windows of {context} tokens of {options.text.title}, "
        f"{windows.num_scored_tokens} tokens scored"
    )
    return windows


def _scores(
    candidates: Sequence[Candidate],
    windows: scoring.Windows,
    library: scoring.Library,
    place: Place,
    num_threads: int,
    listener: Listener,
) -> dict[str, scoring.Scores]:
    found: dict[str, scoring.Scores] = {}
    listener.say(f"reading with the library of {library.name} {library.version}")
    identity = f"{candidates[0].sha256} {library.name} {library.version}"
    with kept(windows, identity, place.scratch, place.free_bytes) as keeping:
        for one in candidates:
            key = f"{one.precision} {one.sha256} {one.is_packed}"
            there = keeping.scores(key)
            if there is not None:
                listener.say(f"{one.precision}: was read before the last run was stopped")
                found[one.precision] = there
                continue
            found[one.precision] = scoring.score(
                one.path,
                windows,
                keeping.logits,
                is_reference=one.is_reference,
                num_threads=num_threads,
                done=_windows_done(listener, one.precision, len(windows.windows)),
                loaded=one.loading,
                library=library,
            )
            keeping.keep(key, found[one.precision])
    return found


def _windows_done(listener: Listener, precision: str, total: int) -> Callable[[int], None]:
    return lambda done: listener.step(f"reading with {precision}", done / total)


def _timed(
    candidates: Sequence[Candidate],
    engine: Engine,
    tokens: Sequence[int],
    plan: timing.Plan,
    hardware: Hardware,
    listener: Listener,
) -> timing.Timed:
    subjects = [_subject(one, one.loaded_by or engine, plan, hardware) for one in candidates]
    listener.say(
        f"timing: {plan.num_rounds} rounds, threads: {plan.num_threads}, prompts of "
        f"{plan.prompt_tokens} tokens, answers of {plan.new_tokens}"
    )
    turns = plan.num_rounds * len(subjects)
    taken = 0

    def turn_done(precision: str, number: int) -> None:
        nonlocal taken
        taken += 1
        listener.step(f"timing {precision}, round {number}", taken / turns)

    return timing.measure(subjects, tokens, plan, hardware, turn_done=turn_done)


def _subject(
    one: Candidate, engine: Engine, plan: timing.Plan, hardware: Hardware
) -> timing.Subject:
    launch = one.launch(
        engine,
        hardware,
        context_tokens=plan.context_tokens,
        num_slots=plan.num_slots,
        num_threads=plan.num_threads,
    )
    return timing.Subject(one.precision, one.weights, engine, launch)


def _precision(
    one: Candidate,
    scores: dict[str, scoring.Scores],
    reference: scoring.Scores,
    timed: timing.Timed,
    engine: Engine,
    seed: int,
) -> Precision:
    found, ours = timed.timings[one.precision], scores[one.precision]
    return Precision(
        precision=one.precision,
        is_reference=one.is_reference,
        file=File(one.path.name, one.num_bytes, one.sha256),
        bits_per_weight=_bits(one),
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
        engine=(one.loaded_by or engine).name,
        calibrated_on=one.calibrated_on,
    )


def _bits(one: Candidate) -> float:
    if one.loaded_by is None or one.is_packed:
        return one.weights.bits_per_weight
    return 8 * weights_bytes(one.weights, one.precision) / one.weights.num_parameters
