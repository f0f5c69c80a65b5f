"""What is on this machine: the models that can be named, from all places that hold some.

The package (`starter`), paths that the configuration names, what was tuned or made here (`tuned`,
`made`), what was pulled here (`records`), what other programs left in the hubs' caches (`caches`).
Reads the disk, never the network, and opens nothing larger than a header.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from codehearth.errors import BadWeights, InvalidRequest, ModelNotFound, NotFound
from codehearth.models import caches, local_models
from codehearth.models.catalogue import nearest, resolve
from codehearth.models.hubs import HubPlaces
from codehearth.models.local_models import LocalModel
from codehearth.models.made import Made
from codehearth.models.names import CatalogueName, HubName, ModelName, PathName, parse_name
from codehearth.models.precisions import nearest_to_default, normalised, same
from codehearth.models.records import Records
from codehearth.models.starter import STARTER, starter
from codehearth.models.starter_checkpoint import STARTER_CHECKPOINT, StarterCheckpoint
from codehearth.models.tuned import ADAPTER, GGUF_ADAPTER, Tuned, TunedModel, split_form


class Shelf:
    """The models of this machine, read anew at every call: other programs change them too."""

    def __init__(
        self,
        places: HubPlaces,
        records: Records,
        named_paths: Mapping[str, Path],
        made: Made,
        tuned: Tuned,
        starter_checkpoint: StarterCheckpoint,
        remote_names: Collection[str] = (),
    ) -> None:
        self._places = places
        self._records = records
        self._named_paths = dict(named_paths)
        self._made = made
        self._tuned = tuned
        self._starter_checkpoint = starter_checkpoint
        self._remote_names = tuple(remote_names)

    def models(self) -> tuple[LocalModel, ...]:
        """The starter first, the configuration's own, what was tuned here, what was downloaded,
        what was made here."""
        found = {model.name: model for model in self._packaged_and_named()}
        for tuned in self._tuned.all():
            found.setdefault(tuned.name, self._of_tuned(tuned, None))
        for model in self.downloaded():
            found.setdefault(model.name, model)
        for made in self._made.all():
            model = local_models.from_made(made, self._made.path_of(made))
            found.setdefault(model.name, model)
        return tuple(found.values())

    def downloaded(self) -> tuple[LocalModel, ...]:
        """Recorded models first, then what else lies in the caches; each place once."""
        recorded = (local_models.from_record(entry) for entry in self._records.all())
        found = {model.name: model for model in recorded if model is not None}
        places = {_place(model) for model in found.values()}
        for cached in caches.cached_models(self._places):
            model = local_models.from_cache(cached)
            if _place(model) in places:
                continue
            if model.name in found:
                # Another commit of a model that is there already.
                model = replace(model, name=f"{model.name}@{(model.revision or '')[:12]}")
            found.setdefault(model.name, model)
        return tuple(found.values())

    def is_own_name(self, text: str) -> bool:
        """Whether `text` names the starter, a path of the configuration, a tuned, made or remote
        model."""
        is_fixed = (
            text in (STARTER, STARTER_CHECKPOINT)
            or text in self._named_paths
            or text in self._remote_names
        )
        is_tuned = self._tuned.get(split_form(text)[0]) is not None
        return is_fixed or is_tuned or self._made.get(text) is not None

    def locate(self, text: str, *, allow_path: bool = False) -> LocalModel:
        """The model that `text` means; raises InvalidRequest, ModelNotFound or BadWeights."""
        if text == STARTER_CHECKPOINT:
            return self._starter_checkpoint.here()
        if text in self._remote_names:
            return local_models.remote(text)
        if text in self._named_paths:
            return local_models.from_path(text, self._named_paths[text])
        name, form = split_form(text)
        tuned = self._tuned.get(name)
        if tuned is not None:
            return self._of_tuned(tuned, form)
        made = self._made.get(text)
        # Making a precision must not change what a name meant before.
        if made is not None and all(model.name != made.name for model in self.downloaded()):
            return local_models.from_made(made, self._made.path_of(made))
        return self.locate_name(parse_name(text, allow_path=allow_path))

    def sharing(self, process: str) -> tuple[LocalModel, ...]:
        """The tuned models that are served by one process, each adapter once."""
        found: dict[Path, LocalModel] = {}
        for tuned in self._tuned.all():
            for form in ("adapter", "peft"):
                with suppress(ModelNotFound, BadWeights, InvalidRequest):  # its base is gone
                    model = self._of_tuned(tuned, form)
                    if model.shared == process and model.adapter is not None:
                        found.setdefault(model.adapter, model)
        return tuple(found.values())

    def locate_name(self, name: ModelName) -> LocalModel:
        match name:
            case PathName(path):
                if not path.exists():
                    raise NotFound(f"There is nothing at '{path.name}'.", param="model")
                return local_models.from_path(path.stem or path.name, path)
            case HubName():
                return self._of_repository(name)
            case CatalogueName():
                return self._of_catalogue(name)

    def _of_tuned(self, tuned: TunedModel, form: str | None) -> LocalModel:
        folder = self._tuned.path_of(tuned)
        if form not in ("adapter", "peft"):
            return local_models.from_tuned(tuned, folder, as_checkpoint=form == "checkpoint")
        name = f"{tuned.name}:{form}"
        wants_gguf = form == "adapter" and tuned.has_adapter
        gguf = self._gguf_of(tuned.base) if wants_gguf else None
        if gguf is not None:
            return local_models.with_adapter(gguf, name, folder / GGUF_ADAPTER)
        base = self.locate(tuned.base, allow_path=True)
        return local_models.with_adapter(base, name, folder / ADAPTER)

    def _gguf_of(self, base: str) -> LocalModel | None:
        """A GGUF of the same model as the checkpoint `base`, for an adapter to be loaded beside."""
        if base == STARTER_CHECKPOINT:
            return starter()
        row = self.locate(base, allow_path=True).row
        if row is None:
            return None
        same_row = (one for one in self.downloaded() if one.row and one.row.name == row.name)
        return best(one for one in same_row if one.format == "gguf")

    def _of_catalogue(self, name: CatalogueName) -> LocalModel:
        try:
            row, precision = resolve(name)
        except ModelNotFound as error:
            raise self._unknown(name, error) from None
        if row.name == STARTER:
            return starter()
        model = best(
            model
            for model in self.downloaded()
            if model.row is not None
            and model.row.name == row.name
            and (precision is None or same(model.precision or "", precision))
            and _is_revision(model, name.revision)
        )
        if model is None:
            wanted = str(replace(name, name=row.name, precision=precision))
            raise ModelNotFound(wanted, hint=f"it is not here yet: `hearth pull {wanted}`")
        return model

    def _of_repository(self, name: HubName) -> LocalModel:
        model = best(
            model
            for model in self.downloaded()
            if model.hub == name.hub
            and (model.repo or "").lower() == name.repo.lower()
            and _is_selected(model, name.selector)
            and _is_revision(model, name.revision)
        )
        if model is None:
            raise ModelNotFound(str(name), hint=f"it is not here yet: `hearth pull {name}`")
        return model

    def _unknown(self, name: CatalogueName, error: ModelNotFound) -> ModelNotFound:
        """The error of a name that no row has: models on this machine may be near too."""
        near = nearest(str(name), (model.name for model in self.models()))
        if not near or "precisions of" in (error.hint or ""):
            return error
        return ModelNotFound(str(name), nearest=tuple(dict.fromkeys((*near, *error.nearest))))

    def _packaged_and_named(self) -> Iterator[LocalModel]:
        loaders: list[Callable[[], LocalModel]] = [starter]
        for name, path in self._named_paths.items():
            loaders.append(_path_loader(name, path))
        for load in loaders:
            try:
                yield load()
            except BadWeights:
                continue  # `find` says what is wrong with it
        yield from map(local_models.remote, self._remote_names)


def best(models: Iterable[LocalModel]) -> LocalModel | None:
    """Of several precisions of one model: a GGUF near q4_k_m, else the first."""
    found = list(models)
    ggufs = [model for model in found if model.format == "gguf"]
    chosen = nearest_to_default(model.precision or "" for model in ggufs)
    for model in ggufs:
        if (model.precision or "") == chosen:
            return model
    return found[0] if found else None


def _path_loader(name: str, path: Path) -> Callable[[], LocalModel]:
    return lambda: local_models.from_path(name, path)


def _is_selected(model: LocalModel, selector: str | None) -> bool:
    if selector is None or (model.precision and normalised(selector) == model.precision):
        return True
    return any(selector in (file, file.rsplit("/", 1)[-1]) for file in model.files)


def _is_revision(model: LocalModel, revision: str | None) -> bool:
    """Whether a model is of a commit (or its beginning), a branch or a tag."""
    if revision is None or revision == model.branch:
        return True
    if model.branch is None and revision in ("main", "master"):
        return True  # another program's, and that is what they fetch
    return (model.revision or "").startswith(revision)


def _place(model: LocalModel) -> tuple[Path, str]:
    """Where a model lies: links above it are followed, for one folder may have two paths."""
    return model.folder.resolve(), str(model.path.relative_to(model.folder))
