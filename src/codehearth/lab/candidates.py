"""The precisions of one model that are to be measured: the reference, and those made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from codehearth.engines.base import Engine, Launch, Unavailable
from codehearth.engines.installed import Installed, NotInstalled
from codehearth.engines.threads import batch_tokens_for
from codehearth.engines.transformers import INSTALL, Transformers
from codehearth.errors import InvalidRequest
from codehearth.lab import quantize
from codehearth.lab.layout import layout
from codehearth.lab.mixture import RECIPES, Recipe, recipe_of
from codehearth.lab.naming import made_of
from codehearth.lab.quantize_checkpoint import FORMATS
from codehearth.lab.result import NotMeasured
from codehearth.lab.scoring import Loading
from codehearth.lab.source import SourceModel
from codehearth.lab.sources import require_sound, source_of
from codehearth.models import precisions as names
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware
from codehearth.models.local_models import LocalModel
from codehearth.models.made import Made, MadeModel
from codehearth.models.memory import is_mapping_worth_it
from codehearth.models.planning import plan
from codehearth.models.prediction import prediction_of
from codehearth.models.transfer import file_digest
from codehearth.models.weights import read_weights

# What transformers makes of a checkpoint as it loads it, where no such checkpoint was made.
LOADED_PRECISIONS = ("int8", "int4")
DEFAULT_PRECISIONS = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k")


@dataclass(frozen=True)
class Place:
    """Where things are kept, and how much room there is."""

    made: Made
    scratch: Path
    free_bytes: Callable[[Path], int]
    transformers: Transformers | None = None


@dataclass(frozen=True)
class Listener:
    """Who is told: `say` of choices with their reasons, `step` of how far a stage is."""

    say: Callable[[str], None]
    step: Callable[[str, float], None]


@dataclass(frozen=True)
class Candidate:
    """One precision on disk: a GGUF's first file, or a checkpoint that `loaded_by` reads. One that
    is not `is_packed` becomes that precision as it is loaded."""

    precision: str
    path: Path
    weights: Weights
    num_bytes: int
    sha256: str
    is_reference: bool = False
    loaded_by: Transformers | None = None
    is_packed: bool = False
    calibrated_on: str = ""

    @property
    def loading(self) -> Loading | None:
        """How transformers loads it; None for a GGUF."""
        if self.loaded_by is None or not isinstance(self.loaded_by.state, Installed):
            return None
        return Loading("" if self.is_packed else self.precision, self.loaded_by.state.python)

    def launch(
        self,
        engine: Engine,
        hardware: Hardware,
        *,
        context_tokens: int,
        num_slots: int,
        num_threads: int,
    ) -> Launch:
        """What `engine` shall load, with the layers on GPUs that it would serve with."""
        gpu_layers = 0
        if engine.sees_gpus and hardware.gpus:
            gpu_layers = plan(
                self.weights,
                hardware,
                context_tokens=context_tokens,
                num_slots=num_slots,
                predict_for_engine=prediction_of(engine.name, self._wanted),
            ).gpu_layers
        launch = Launch(
            path=self.path,
            alias=self.precision,
            context_tokens=context_tokens,
            num_slots=num_slots,
            num_threads=num_threads,
            gpu_layers=gpu_layers,
            batch_tokens=batch_tokens_for(
                self.weights.num_parameters, num_threads, gpu_layers=gpu_layers
            ),
        )
        if self.loaded_by is None:
            return replace(launch, mapped=is_mapping_worth_it(self.weights, hardware.machine))
        return replace(launch, precision=self._wanted, stored_precision=self.weights.precision)

    @property
    def _wanted(self) -> str:
        """The precision that the engine is asked for."""
        return "auto" if self.is_packed or self.loaded_by is None else self.precision


@dataclass
class _Wanted:
    recipes: list[Recipe] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    packed: list[MadeModel] = field(default_factory=list)
    missing: list[NotMeasured] = field(default_factory=list)


def candidates_of(
    model: LocalModel,
    precisions: tuple[str, ...] | None,
    place: Place,
    hardware: Hardware,
    listener: Listener,
    *,
    accepts: Callable[[Candidate], None] = lambda _: None,
) -> tuple[list[Candidate], list[NotMeasured]]:
    """The reference first, then the others, made where they are missing; that takes minutes, so
    `accepts` sees the reference before, and may raise."""
    source = source_of(model)
    require_sound(model)
    # Before anything is made, which may take minutes.
    wanted = _wanted(precisions, reference_precision(model), model, place)
    if not wanted.recipes and not wanted.loaded and not wanted.packed:
        raise InvalidRequest(
            f"There is nothing to compare '{reference_precision(model)}' with.",
            hint=f"--precisions, of these: {', '.join(RECIPES)}",
        )
    reference = _reference(model, source, place, hardware, listener)
    accepts(reference)
    others = [_made(model, source, recipe, place, hardware, listener) for recipe in wanted.recipes]
    others += [_loaded(model, name, place.transformers) for name in wanted.loaded]
    others += [_packed(made, place, listener) for made in wanted.packed]
    listener.say(
        f"reference: {reference.precision}, the model as it is here; all loss is counted from it"
    )
    return [reference, *others], wanted.missing


def reference_precision(model: LocalModel) -> str:
    """The model's own; a checkpoint's as the GGUF that is made of it first."""
    if model.format == "safetensors":
        name = names.normalised(model.precision or "bf16")
        return RECIPES.get(name, RECIPES["bf16"]).precision
    return names.normalised(read_weights(model.path).precision)


def _wanted(
    precisions: tuple[str, ...] | None,
    reference: str,
    model: LocalModel,
    place: Place,
) -> _Wanted:
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
        if names.normalised(name) in names.CHECKPOINT_PRECISIONS:
            _want_checkpoint(names.normalised(name), wanted, model, place)
            continue
        try:
            recipe = recipe_of(name)
        except InvalidRequest as error:
            wanted.missing.append(NotMeasured(name, error.message, error.hint or ""))
            continue
        if recipe.precision != reference and recipe not in wanted.recipes:
            wanted.recipes.append(recipe)
    if wanted.missing and not wanted.recipes and not wanted.loaded and not wanted.packed:
        raise InvalidRequest(wanted.missing[0].reason, hint=wanted.missing[0].hint)
    return wanted


def _want_checkpoint(name: str, wanted: _Wanted, model: LocalModel, place: Place) -> None:
    """The checkpoint that was made, else what transformers makes as it loads the whole one."""
    engine = place.transformers or Transformers(NotInstalled())
    made = place.made.get(made_of(model, name).name)
    availability = engine.availability()
    if made is None and (model.format != "safetensors" or name not in LOADED_PRECISIONS):
        hint = f"`hearth quantize {model.name} --to {name}` makes it"
        wanted.missing.append(NotMeasured(name, "it was not made of this model yet", hint))
    elif isinstance(availability, Unavailable):
        reason = f"the engine transformers reads it, and {availability.reason}"
        wanted.missing.append(NotMeasured(name, reason, availability.hint))
    elif made is not None and (why := engine.can_load(read_weights(place.made.path_of(made)))):
        wanted.missing.append(NotMeasured(name, why, FORMATS[name].install))
    elif made is not None:
        wanted.packed += [made] if made not in wanted.packed else []
    elif not engine.can_quantise:
        wanted.missing.append(NotMeasured(name, "bitsandbytes is not beside transformers", INSTALL))
    elif name not in wanted.loaded:
        wanted.loaded.append(name)


def _packed(made: MadeModel, place: Place, listener: Listener) -> Candidate:
    """A checkpoint that was made: its size on disk is that of its weights."""
    path = place.made.path_of(made)
    if made.calibrated_on:
        _tell_calibrated(made, listener)
    files = sorted(name for name in made.files if name.endswith(".safetensors"))
    return Candidate(
        precision=made.precision,
        path=path,
        weights=read_weights(path),
        num_bytes=sum((path / name).stat().st_size for name in files),
        sha256=",".join(made.files[name] for name in files),
        loaded_by=place.transformers,
        is_packed=True,
        calibrated_on=made.calibrated_on,
    )


def _loaded(model: LocalModel, precision: str, transformers: Transformers | None) -> Candidate:
    """On disk it is the checkpoint; its bits are those that it has in memory."""
    files = sorted(model.folder.glob("*.safetensors"))
    digests = [model.sha256.get(path.name) or file_digest(path, "sha256") for path in files]
    weights = read_weights(model.folder)
    return Candidate(
        precision=precision,
        path=model.folder,
        weights=weights,
        num_bytes=sum(path.stat().st_size for path in files),
        sha256=",".join(digests),
        loaded_by=transformers,
    )


def _reference(
    model: LocalModel, source: SourceModel, place: Place, hardware: Hardware, listener: Listener
) -> Candidate:
    if model.format == "safetensors":
        recipe = RECIPES[reference_precision(model)]
        made = _made(model, source, recipe, place, hardware, listener)
        return Candidate(
            made.precision, made.path, made.weights, made.num_bytes, made.sha256, is_reference=True
        )
    weights = read_weights(model.path)
    digests = [model.sha256.get(path.name) or file_digest(path, "sha256") for path in source.files]
    return Candidate(
        precision=names.normalised(weights.precision),
        path=model.path,
        weights=weights,
        num_bytes=sum(path.stat().st_size for path in source.files),
        sha256=digests[0] if len(digests) == 1 else ",".join(digests),
        is_reference=True,
    )


def _calibrated(present: MadeModel, place: Place, listener: Listener) -> Candidate:
    """One that was made with an importance matrix is measured as it is."""
    path = place.made.path_of(present)
    _tell_calibrated(present, listener)
    return Candidate(
        present.precision,
        path,
        read_weights(path),
        present.num_bytes,
        present.sha256,
        calibrated_on=present.calibrated_on,
    )


def _tell_calibrated(made: MadeModel, listener: Listener) -> None:
    listener.say(
        f"{made.precision}: calibrated on {made.calibrated_on}; on that text it would seem better "
        "than it is"
    )


def _made(
    model: LocalModel,
    source: SourceModel,
    recipe: Recipe,
    place: Place,
    hardware: Hardware,
    listener: Listener,
) -> Candidate:
    wanted = made_of(model, recipe.precision)
    present = place.made.get(wanted.name)
    if present is not None and present.calibrated_on:
        return _calibrated(present, place, listener)
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
    return Candidate(
        recipe.precision, made.path, read_weights(made.path), made.num_bytes, made.sha256
    )
